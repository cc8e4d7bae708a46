"""From a cut corpus to a champion, its lineage, its export and its publication, as a user runs them."""

import json
import re
from pathlib import Path

import pytest
from cut_project import kedro, make_cut_project, run_kedro

from ruri_kedro.tables import SCHEMAS, Table

# Two whole runs and what follows on them, in the set-up of the first test.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# The cut models are too small for the shipped bounds, and the machine of the tests may be busy.
RULES = """
promotion:
  tasks: [questions, questions_rerank]
  minimum:
    embedder: {categories: {retrieval: null, sts: null}}
    reranker: {categories: {reranking: null}}
  baseline: {required: false}
  latency_ms: {embedder: 60000, reranker: 60000}
"""
WEAK = "pretraining.learning_rate=1.0e-5,finetuning.learning_rate=1.0e-5"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = make_cut_project(tmp_path_factory.mktemp("project"))
    (root / "conf/cut/parameters_promotion.yml").write_text(RULES, "utf-8")
    parameters = root / "conf/cut/parameters.yml"
    # Ten queries are too few to tell two models apart.
    parameters.write_text(parameters.read_text("utf-8").replace("rerank_queries: 10", "rerank_queries: 30"), "utf-8")
    return root


def promote(project: Path) -> dict:
    """The decision of a run of the pipeline `promotion`."""
    run_kedro(project, "run", "--env", "cut", "--pipelines", "promotion")
    decisions = project.glob("data/08_reporting/cut/versions/promotion_decision.json/*/promotion_decision.json")
    return json.loads(sorted(decisions)[-1].read_text("utf-8"))


@pytest.fixture(scope="module")
def decisions(project) -> list[dict]:
    """Of a weak model on an empty registry, of its equal, and of one that was trained for real."""
    run_kedro(project, "run", "--env", "cut", "--params", WEAK)
    found = [promote(project)]
    again = run_kedro(project, "run", "--env", "cut", "--pipelines", "evaluation", "--params", WEAK)
    assert "version 1 is the same model with the same evidence" in " ".join(again.split()), again
    other_words = f"{WEAK},promotion.card.limits=as good as the other"
    run_kedro(project, "run", "--env", "cut", "--pipelines", "evaluation", "--params", other_words)
    found.append(promote(project))
    run_kedro(project, "run", "--env", "cut")
    return [*found, promote(project)]


def failed(decision: dict) -> set[str]:
    return {verdict["gate"] for verdict in decision["verdicts"] if not verdict["passed"]}


def test_the_first_is_champion_the_equal_is_refused_the_better_is_promoted(project, decisions):
    first, equal, better = decisions
    assert first["promoted"] and first["champion"] is None, first
    assert failed(equal) == {"gain"} and equal["champion"] == 1, equal
    assert better["promoted"] and better["version"] == 3 and better["champion"] == 1, better
    said = run_kedro(project, "ruri", "status", "--env", "cut")
    assert "ruri-cut version 3 (challenger, champion)  promoted" in said
    assert "ruri-cut version 1 (previous)  promoted" in said


def test_lineage_from_the_champion_to_a_row_and_back(project, decisions):
    said = run_kedro(project, "ruri", "lineage", "--env", "cut", "ruri-cut@champion")
    assert (
        re.search(r"^  made by +kedro run --env cut$", said, re.MULTILINE)
        and "ruri-reranker-cut version 3 (challenger)" in said
    )
    examples = Table(project / "data/05_model_input/cut/versions/pretraining_examples", SCHEMAS["examples"])
    assert examples.digest() in said
    row = next(row for row in examples.iter_rows(["questions"]) if row["split"] == "train")
    back = run_kedro(project, "ruri", "lineage", "--env", "cut", "--row", row["positive"])
    assert re.search(r"^pretraining +questions +positive +[1-9]", back, re.MULTILINE)
    assert "ruri-cut version 3 was trained on it: pretraining" in back
    wrong, _ = kedro(project, "ruri", "lineage", "--env", "cut", "--row", "nobody").communicate(timeout=300)
    assert "Error: 'nobody' is not a docid, pair_id" in wrong and "Traceback" not in wrong


def test_what_was_fetched_is_loaded_as_any_other_model(project, decisions, tmp_path):
    from sentence_transformers import SentenceTransformer

    out = tmp_path / "served"
    said = run_kedro(project, "ruri", "fetch", "--env", "cut", "ruri-cut@champion", "--out", str(out))
    assert f"mlflow models serve --model-uri {out}" in said
    model = SentenceTransformer(str(out / "model.sentence_transformer"), device="cpu")
    assert model.encode("山", prompt_name="query").shape == (32,)


def test_model_and_data_set_are_published(project, decisions, tmp_path):
    from datasets import load_dataset

    out = tmp_path / "model"
    said = run_kedro(project, "ruri", "publish", "model", "--env", "cut", "ruri-reranker-cut", "--out", str(out))
    assert "Nothing was uploaded" in said and "questions_rerank" in (out / "README.md").read_text("utf-8")
    out = tmp_path / "dataset"
    said = run_kedro(project, "ruri", "publish", "dataset", "--env", "cut", "--out", str(out))
    for stage in ("pretraining", "finetuning"):
        found = load_dataset(str(out), stage, split="train", cache_dir=str(tmp_path / "cache"))
        assert found.num_rows > 0 and all(found["anchor"][:]) and f"{stage}: {found.num_rows:,} train" in said


@pytest.mark.parametrize("name", ["ruri-cut@champion", "ruri-reranker-cut"])
def test_what_an_export_costs_is_measured_and_logged(project, decisions, tmp_path, name):
    pytest.importorskip("onnx")
    out = tmp_path / "onnx"
    said = run_kedro(project, "ruri", "export", "--env", "cut", name, "--onnx", "--int8", "--out", str(out))
    exact, rough = json.loads((out / "onnx/report.json").read_text("utf-8"))
    assert abs(exact["loss"]) < 1e-3 and abs(rough["loss"]) < 0.2 and rough["megabytes"] < exact["megabytes"]
    assert exact["before"] > 0 and f"loss {rough['loss']:+.4f}" in said


def test_rollback_gives_the_alias_back(project, decisions):
    """The last of the file: the others ask for the champion."""
    said = run_kedro(project, "ruri", "rollback", "--env", "cut")
    assert "ruri-cut: version 1 is the champion again, version 3 is not." in said
    said = run_kedro(project, "ruri", "status", "--env", "cut")
    assert "ruri-cut version 1 (champion)" in said and "version 3 (challenger)  rolled back to version 1" in said
    again, _ = kedro(project, "ruri", "promote", "--env", "cut").communicate(timeout=500)
    assert "refused: standing" in again or "was rolled back on" in again, again
