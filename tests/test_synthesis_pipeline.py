"""The pipeline `synthesis` through the command line, as a user runs it."""

import json
import sqlite3

import pytest
import yaml
from chat_server import ChatServer, answer
from cut_project import kedro, make_cut_project, read, run_kedro

from ruri_kedro.pipeline_registry import register_pipelines
from ruri_kedro.tables import SCHEMAS, Table

KEY = "sk-a-key-for-tests"
SOURCE = {
    "kind": "question_to_passage",
    "root": "data/01_raw/synthetic/cut",
    "path": "autowikiqa/rows.jsonl.gz",
    "origin": "synthetic",
    "stages": {"pretraining": {"negatives": "bm25"}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = make_cut_project(tmp_path_factory.mktemp("project"))
    path = root / "conf/cut/parameters_sources.yml"
    row = f"  cut:\n    autowikiqa: {json.dumps(SOURCE)}\n"
    path.write_text(path.read_text("utf-8").replace("  cut:\n", row, 1), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def output(project):
    """Terminal output of a run against a server."""
    server = ChatServer()
    server.reply = answer
    own = {"model": {"name": "swallow", "base_url": server.url, "api_key_env": "RURI_TEST_KEY"}}
    own["sets"] = {name: {"count": 20, "min_chars": 10} for name in ("autowikiqa", "autowikinli")}
    (project / "conf/cut/parameters_synthesis.yml").write_text(yaml.safe_dump({"synthesis": own}), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RURI_TEST_KEY", KEY)
        output = run_kedro(project, "run", "--env", "cut", "--pipelines", "synthesis")
    server.close()
    assert {headers["Authorization"] for _, headers, _ in server.asked} == {f"Bearer {KEY}"}
    return output


def test_the_default_run_asks_no_model():
    pipelines = register_pipelines()
    names = {node.name for node in pipelines["synthesis"].nodes}
    assert names and not names & {node.name for node in pipelines["__default__"].nodes}


def test_both_sets_are_written_and_reported(project, output):
    assert "autowikiqa: 16 rows of 20 excerpts" in " ".join(output.split())
    folder = project / "data/01_raw/synthetic/cut"
    assert len(read(folder / "autowikiqa/rows.jsonl.gz")) == 16
    assert [row["label"] for row in read(folder / "autowikinli/rows.jsonl.gz")] == ["contradiction", "entailment"] * 16
    with sqlite3.connect(project / "mlflow.db") as store:
        metrics = dict(store.execute("select key, value from metrics"))
        parameters = dict(store.execute("select key, value from params"))
    assert metrics["synthesis_report/autowikiqa/rows"] == 16
    assert metrics["synthesis_report/autowikinli/rejects/low_score"] == 4
    assert "swallow" in parameters.values()


def test_the_key_is_written_nowhere(project, output):
    files = [path for path in project.rglob("*") if path.is_file()]
    assert files and not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in output


def test_a_recipe_takes_the_rows_by_configuration_only(project, output):
    run_kedro(project, "run", "--env", "cut", "--pipelines", "data_engineering")
    pairs = Table(project / "data/03_primary/cut/pairs", SCHEMAS["pairs"])
    assert pairs.rows("autowikiqa") > 0
    assert {row["origin"] for row in pairs.iter_rows(["autowikiqa"])} == {"synthetic"}


def test_without_a_model_the_parameter_is_named(tmp_path):
    project = make_cut_project(tmp_path)
    said, _ = kedro(project, "run", "--env", "cut", "--pipelines", "synthesis").communicate(timeout=120)
    assert "synthesis.model.name: missing" in said and "Traceback" not in said
