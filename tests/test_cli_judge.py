"""`kedro ruri evaluate --benchmark recipe`: models of every kind and BM25 on the tasks of a recipe."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from kedro_project import REPOSITORY, make_project
from pytest import approx
from tiny import TEXTS, save_tiny_late, save_tiny_models

from ruri_kedro.benchmark.scoring.trec import score_runs
from ruri_kedro.benchmark.tasks.stored import store_task
from ruri_kedro.cli.commands import cli
from ruri_kedro.datasets import FolderDataset

TASKS = {
    "wiki": {"type": "retrieval", "shape": "qa", "path": "qa.jsonl"},
    "candidates": {"type": "reranking", "shape": "pairs", "path": "pairs.jsonl"},
    "similar": {"type": "sts", "path": "sts.jsonl"},
}
PARAMETERS = {
    "tasks": TASKS,
    "seed": 1,
    "bm25": {"engine": "bm25s", "analyzer": "sudachi_a", "k1": 0.9, "b": 0.4, "threads": 1, "heap_mb": 256},
    "evaluation": {
        "depth": 100,
        "max_length": 64,
        "max_length_of": {},
        "chunk_tokens": 512,
        "rerank_queries": 10,
        "multi_vector": "exact",
        "exact_documents": 1000,
        "indexes": "data/indexes",
    },
    "published": {"title": None, "columns": {}, "average": False, "models": {}},
    "multi_vector": {"bits": 4, "centroids": None, "iterations": 4, "seed": 0, "shard_tokens": 1000, "probes": 8,
                     "candidates": 100, "rescored": 50, "threads": 1},
}  # fmt: skip
CATALOG = "test_sets:\n  type: ruri_kedro.datasets.FolderDataset\n  filepath: data/test_sets\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    root = save_tiny_models(tmp_path_factory.mktemp("models"))
    save_tiny_late(root / "late")
    return root


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    from kedro.framework.startup import bootstrap_project

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make_project(tmp_path)
    shutil.copy(REPOSITORY / "conf/base/parameters_benchmarks.yml", tmp_path / "conf/base")
    (tmp_path / "conf/base/parameters_tasks.yml").write_text(yaml.safe_dump(PARAMETERS, sort_keys=False), "utf-8")
    (tmp_path / "conf/base/catalog_tasks.yml").write_text(CATALOG, "utf-8")
    monkeypatch.chdir(tmp_path)
    bootstrap_project(tmp_path)
    return tmp_path


@pytest.fixture
def read(project) -> Path:
    """The tasks as `kedro run` leaves them."""
    raw = project / "raw"
    raw.mkdir()
    write(raw / "qa.jsonl", [{"qid": f"q{i}", "question": text[:8], "context_id": f"c{i}", "context": text, "title": ""}
                             for i, text in enumerate(TEXTS)])  # fmt: skip
    write(
        raw / "sts.jsonl",
        [{"text1": a, "text2": b, "score": i % 4} for i, (a, b) in enumerate(zip(TEXTS, TEXTS[3:], strict=False))],
    )
    write(raw / "pairs.jsonl", [
        {"qid": f"q{i}", "query": TEXTS[i][:8], "docid": f"d{j}", "title": "", "text": TEXTS[j], "label": int(i == j)}
        for i in range(5) for j in range(12)
    ])  # fmt: skip
    builds = {name: lambda folder, name=name: store_task(name, TASKS[name], raw, folder, None) for name in TASKS}
    FolderDataset(filepath="data/test_sets").save(builds)
    return project


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def evaluate(model, *options):
    return CliRunner().invoke(
        cli, ["ruri", "evaluate", "--benchmark", "recipe", "--model", str(model), "--out", "out", *options]
    )


def test_all_three_kinds_meet_on_the_same_tasks(read, models):
    for model in ("bm25", models / "embedder", models / "reranker"):
        done = evaluate(model)
        assert done.exit_code == 0, done.output
    table = (read / "out/recipe.md").read_text("utf-8")
    assert done.output.endswith(table)
    lines = {line.split("|")[1].strip(): line for line in table.splitlines()[2:]}
    assert "| metric | bm25 | local/embedder | local/reranker |" in table
    assert {
        "candidates/ndcg@10",
        "candidates/pooled_recall@30",
        "wiki/recall@3",
        "wiki_rerank/mrr@10",
        "similar/spearman",
    } <= lines.keys()
    assert lines["similar/spearman"].count("| - ") == 2, "only an embedder has a similarity of sentences"
    assert "similar: not a task for local/reranker" in done.output

    paper = {"title": "Table 2", "columns": {"Wiki": ["wiki/recall@1", "wiki/recall@3"]}, "models": {"E5": [0.5, 0.75]}}
    (read / "conf/local").mkdir(exist_ok=True)
    (read / "conf/local/parameters_paper.yml").write_text(yaml.safe_dump({"published": paper}), "utf-8")
    assert evaluate("bm25").exit_code == 0
    table = (read / "out/recipe.md").read_text("utf-8")
    assert "## Table 2" in table and "| E5 (published) | 0.500 | 0.750 |" in table
    assert "| bm25 (measured here) | " in table and "| local/reranker (measured here) | - | - |" in table


def test_without_a_name_an_embedder_has_its_own_prompts_and_a_reranker_none(read, models):
    named = evaluate(models / "embedder", "--prompts", "ruri")
    assert "wiki ..." in named.output
    assert "..." not in evaluate(models / "embedder").output, "saved with Ruri's prompts"
    bare = shutil.copytree(models / "embedder", read / "bare")
    path = bare / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"prompts": {}}), "utf-8")
    done = evaluate(bare)
    assert done.exit_code == 1 and "'local/bare' was saved without prompts" in done.output
    assert evaluate(models / "reranker").exit_code == 0


def test_what_was_evaluated_can_be_compared(read, models):
    for model in ("bm25", models / "embedder"):
        evaluate(model, "--task", "wiki")
    tables = ("--model", "bm25=out/bm25/scores", "--model", "embedder=out/local__embedder/scores")
    done = CliRunner().invoke(cli, ["ruri", "compare", *tables, "--resamples", "200", "--out", "compared"])
    assert done.exit_code == 0, done.output
    [tested] = json.loads((read / "compared/comparison.json").read_text("utf-8"))["comparisons"]
    assert (tested["baseline"], tested["model"], tested["task"]) == ("bm25", "embedder", "wiki")


def test_late_interaction_searches_small_collections_and_orders_candidates_of_others(read, models):
    from sentence_transformers import MultiVectorEncoder

    done = evaluate(models / "late")
    assert done.exit_code == 0, done.output
    rows = {line.split("|")[1].strip(): float(line.split("|")[2].strip(" *"))
            for line in (read / "out/recipe.md").read_text("utf-8").splitlines()[2:]}  # fmt: skip
    assert "candidates/ndcg@10" in rows and "wiki/recall@3" in rows and "wiki_rerank/recall@10" not in rows
    model = MultiVectorEncoder(str(models / "late"), device="cpu")
    scores = model.similarity(model.encode_query([text[:8] for text in TEXTS]), model.encode_document(TEXTS)).double()
    found = [(scores[i] > scores[i, i]).sum() < 3 for i in range(len(TEXTS))]
    assert rows["wiki/recall@3"] == approx(sum(map(int, found)) / len(found), abs=1e-4)
    assert "similar: not a task for local/late" in done.output

    small = {"mteb": {"exact_documents": 3}}
    (read / "conf/local").mkdir(exist_ok=True)
    (read / "conf/local/parameters_mteb.yml").write_text(yaml.safe_dump(small), "utf-8")
    assert evaluate(models / "late", "--task", "wiki").exit_code == 0
    assert "wiki_rerank/mrr@10" in (read / "out/recipe.md").read_text("utf-8")

    through_an_index = small | {"evaluation": {"multi_vector": "index"}}
    (read / "conf/local/parameters_mteb.yml").write_text(yaml.safe_dump(through_an_index), "utf-8")
    assert evaluate(models / "late", "--task", "wiki").exit_code == 0
    [line] = [line for line in (read / "out/recipe.md").read_text("utf-8").splitlines() if "wiki/recall@3" in line]
    assert float(line.split("|")[2].strip(" *")) == approx(rows["wiki/recall@3"], abs=0.06)
    assert len(list((read / "data/indexes").iterdir())) == 1


def test_runs_score_as_the_table_says(read, models):
    evaluate(models / "reranker", "--task", "candidates")
    folder = read / "out/local__reranker/runs/candidates"
    [run] = score_runs(folder, folder / "qrels.trec.gz", ["ndcg@10", "mrr@10"]).values()
    table = (read / "out/recipe.md").read_text("utf-8")
    for metric, value in run.means().items():
        [line] = [line for line in table.splitlines() if f"candidates/{metric} " in line]
        assert float(line.split("|")[2].strip(" *")) == approx(value, abs=1e-4)


def test_an_interrupted_evaluation_goes_on_with_the_first_missing_task(read, models, monkeypatch):
    whole = evaluate(models / "embedder")
    table = (read / "out/recipe.md").read_text("utf-8")
    shutil.rmtree(read / "out")
    with monkeypatch.context() as patched:
        patched.setattr(
            "ruri_kedro.benchmark.scoring.evaluate.score_by_vectors", lambda *a: 1 / 0
        )  # the task `similar`
        assert isinstance(evaluate(models / "embedder").exception, ZeroDivisionError)
    again = evaluate(models / "embedder")
    assert "similar ..." in again.output and "wiki ..." not in again.output and "candidates ..." not in again.output
    assert (read / "out/recipe.md").read_text("utf-8") == table and "wiki ..." in whole.output
    assert "..." not in evaluate(models / "embedder").output, "nothing is computed twice"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--task", "other"), "the recipe has no task 'other'. It has: wiki, candidates, similar."),
        (("--prompts", "other"), "prompts 'other' are not in mteb.prompts"),
    ],
)
def test_wrong_names_are_one_line(read, models, options, message):
    done = evaluate(models / "embedder", *options)
    assert done.exit_code == 1 and message in done.output


def test_tasks_that_were_never_read_name_the_command(project, models):
    done = evaluate("bm25")
    assert done.exit_code == 1 and "kedro run --pipelines data_engineering --nodes read_tasks" in done.output
