"""`kedro ruri compare` in a project whose models have been evaluated."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from kedro_project import make_project

from ruri_kedro.cli.commands import cli
from ruri_kedro.datasets import TableDataset
from ruri_kedro.tables import Part

CATALOG = """
test_texts:
  type: ruri_kedro.datasets.TableDataset
  filepath: data/02_intermediate/tiny/test_texts
  schema: test_texts

"scores_{model}":
  type: ruri_kedro.datasets.TableDataset
  filepath: data/07_model_output/tiny/scores/{model}
  schema: scores
"""


def save(path: Path, schema: str, rows: list[dict]) -> None:
    TableDataset(filepath=str(path), schema=schema).save({"questions": Part("key", lambda: [rows])})


def scores(path: Path, gain: float, seed: int = 0) -> None:
    """A score table of a retrieval task, as the evaluation writes it."""
    values = np.random.default_rng(5).uniform(0.2, 0.5, 60) + gain + np.random.default_rng(seed).normal(0, 0.05, 60)
    base = {"model": path.name, "task": "questions"}
    rows = [base | {"metric": "ndcg@10", "query_id": f"q{i:02}", "score": value} for i, value in enumerate(values)]
    save(path, "scores", [*rows, base | {"task": "sts", "metric": "spearman", "query_id": "", "score": 0.5 + gain}])


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    from kedro.framework.startup import bootstrap_project

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make_project(tmp_path)
    catalog = tmp_path / "conf/base/catalog.yml"
    catalog.write_text(catalog.read_text("utf-8") + CATALOG, encoding="utf-8")
    texts = [
        {"test": "questions", "role": role, "item_id": f"q{i:02}", "text": f"{text}{i}"}
        for i in range(60)
        for role, text in (("query", "問い"), ("positive", "答え"))
    ]
    save(tmp_path / "data/02_intermediate/tiny/test_texts", "test_texts", texts)
    monkeypatch.chdir(tmp_path)
    bootstrap_project(tmp_path)
    return tmp_path


def compare(*arguments: object):
    return CliRunner().invoke(cli, ["ruri", "compare", *map(str, arguments)])


def test_all_models_of_the_recipe_are_compared_with_the_first(project):
    for model, gain in (("bm25", 0.0), ("finetuned", 0.1), ("base", -0.1)):
        scores(project / f"data/07_model_output/tiny/scores/{model}", gain)
    done = compare()
    assert done.exit_code == 0, done.output
    data = json.loads((project / "data/08_reporting/tiny/comparison.json").read_text("utf-8"))
    assert [(row["baseline"], row["model"], row["task"]) for row in data["comparisons"]] == [
        ("bm25", "base", "questions"),
        ("bm25", "finetuned", "questions"),
    ]
    page = (project / "data/08_reporting/tiny/comparison.html").read_text("utf-8")
    assert "finetuned against bm25" in page and "問い" in page and "答え" in page
    assert "finetuned  questions/ndcg@10" in done.output and "sts/spearman" in done.output
    assert str(project / "data/08_reporting/tiny/comparison.html") in done.output


def test_tables_elsewhere_are_models_and_a_name_given_again_is_a_seed(project):
    scores(project / "data/07_model_output/tiny/scores/bm25", 0.0)
    for seed in (1, 2, 3):
        scores(project / f"kept/seed{seed}", 0.1, seed)
    tables = [f"--model=tuned=kept/seed{seed}" for seed in (1, 2, 3)]
    done = compare("--model", "bm25", *tables, "--out", "here", "--resamples", 500, "--seed", 7)
    assert done.exit_code == 0, done.output
    data = json.loads((project / "here/comparison.json").read_text("utf-8"))
    summaries = {(row["model"], row["task"]): row for row in data["models"]}
    assert summaries["tuned", "questions"]["seeds"] == 3 and summaries["tuned", "questions"]["deviation"] > 0
    assert summaries["bm25", "questions"]["deviation"] is None
    assert (data["resamples"], data["seed"]) == (500, 7)
    assert [row["p_holm"] <= 0.05 for row in data["comparisons"]] == [True]


def test_two_versions_of_a_table_are_compared_without_texts(project):
    scores(project / "old", 0.0)
    scores(project / "new", 0.0, seed=1)
    (project / "data/02_intermediate/tiny/test_texts/manifest.json").unlink()
    done = compare("--model", "new=new", "--model", "old=old", "--baseline", "old")
    assert done.exit_code == 0, done.output
    assert "new against old" in (project / "data/08_reporting/tiny/comparison.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "tiny/scores: no score table here. Run: kedro run --pipelines evaluation"),
        (["--model", "bm25"], "model 'bm25': no complete score table in"),
        (["--model", "x=nowhere"], "model 'x': no complete score table in nowhere"),
        (["--model", "x=kept", "--baseline", "y"], "baseline 'y': not among the models. There are: x."),
        (["--model", "x=kept", "--metric", "mrr@3"], "metric 'mrr@3': no table has it"),
    ],
)
def test_what_is_missing_is_one_error(project, arguments, message):
    scores(project / "kept", 0.0)
    done = compare(*arguments)
    assert done.exit_code == 1 and message in done.output
    assert isinstance(done.exception, SystemExit)
    assert not (project / "data/08_reporting/tiny/comparison.json").exists()
