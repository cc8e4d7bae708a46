"""A new type of task is a file, a new model a class: the engine, stored tasks and reports then know them."""

import shutil
import sys
from pathlib import Path

import numpy as np
import odd_one_out
import polars as pl
import pytest
from odd_one_out import SharedCharacters

import ruri_kedro.benchmark.tasks as tasks
from ruri_kedro.benchmark.comparing.comparison import main_metrics, scores_by_query
from ruri_kedro.benchmark.comparing.report import main_columns
from ruri_kedro.benchmark.recipe_tasks import EvaluatedModel, evaluate_recipe
from ruri_kedro.benchmark.runs import read_run
from ruri_kedro.benchmark.scoring.evaluate import RERANKED, RUN, evaluate, evaluate_embedder
from ruri_kedro.benchmark.scoring.models import Bm25, Embedder
from ruri_kedro.benchmark.tasks.load import test_texts as texts_of_task
from ruri_kedro.benchmark.tasks.rows import parse_tasks
from ruri_kedro.benchmark.tasks.stored import store_task, stored_task, task_is_stored
from ruri_kedro.benchmark.tasks.types import task_types
from ruri_kedro.errors import RecipeError
from ruri_kedro.pipelines.data_engineering import nodes as data_engineering
from ruri_kedro.pipelines.evaluation import nodes as evaluation
from ruri_kedro.pipelines.evaluation.nodes import score_model

SPEC = {"type": "odd_one_out", "path": "odd.jsonl", "first": 1}
ROWS = [{"texts": ["犬が走る", "犬が走った", "株価"], "odd": 3}, {"texts": ["円", "雨が降る", "雨が降った"], "odd": 1}]
FRUITS = {"q1": "林檎", "q2": "蜜柑"}
CANDIDATES = [
    {"qid": qid, "query": f"{fruit}の値段", "docid": other, "title": "", "text": other, "label": int(fruit == other)}
    for qid, fruit in FRUITS.items()
    for other in FRUITS.values()
]


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setitem(task_types(), "odd_one_out", odd_one_out.TYPE)


@pytest.fixture
def root(added, write_jsonl, tmp_path):
    write_jsonl("odd.jsonl", ROWS)
    write_jsonl("candidates.jsonl", CANDIDATES)
    store_task("odd", SPEC, tmp_path, tmp_path / "sets/odd", None)
    given = {"type": "reranking", "shape": "pairs", "path": "candidates.jsonl"}
    store_task("given", given, tmp_path, tmp_path / "sets/given", None)
    return tmp_path


def test_a_file_beside_the_others_is_found(tmp_path, monkeypatch):
    name = "ruri_kedro.benchmark.tasks.odd_one_out"
    shutil.copy(odd_one_out.__file__, tmp_path)
    before = list(task_types())
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    task_types.cache_clear()
    try:
        assert set(task_types()) == {*before, "odd_one_out"}
        assert Path(sys.modules[name].__file__).parent == tmp_path
    finally:
        monkeypatch.undo()
        sys.modules.pop(name, None)
        task_types.cache_clear()
    assert list(task_types()) == before


def test_its_parameters_are_checked(added):
    assert parse_tasks({"odd": SPEC})["odd"].first == 1
    with pytest.raises(RecipeError, match=r"tasks\.odd\.frist: there is no such parameter\. Did you mean first\?"):
        parse_tasks({"odd": {"type": "odd_one_out", "path": "odd.jsonl", "frist": 1}})


def test_it_is_stored_and_its_texts_are_what_leaks_are_looked_for_in(root, monkeypatch):
    task = stored_task(root / "sets", "odd")
    assert task == odd_one_out.OddOneOutTask("odd", tuple(tuple(row["texts"]) for row in ROWS), (2, 0))
    assert [row["text"] for row in texts_of_task(task)] == [text for row in ROWS for text in row["texts"]]
    parts = data_engineering.collect_test_texts(root / "sets", root, {"odd": SPEC}, {})
    assert [row["role"] for block in parts["odd"].rows() for row in block] == ["text"] * 6
    assert task_is_stored("odd", SPEC, root, root / "sets/odd")
    other = root / "other.py"
    other.write_text("# Another way to read it.", "utf-8")
    monkeypatch.setattr("inspect.getfile", lambda _: str(other))
    assert not task_is_stored("odd", SPEC, root, root / "sets/odd"), "its code is part of the key"


def test_it_is_scored_by_vectors_and_reported(root, encode):
    rows = evaluate_embedder("hash", stored_task(root / "sets", "odd"), encode)
    assert [(row["metric"], row["query_id"], row["score"]) for row in rows] == [
        ("odd_found", "0", 1.0), ("odd_found", "1", 1.0),
    ]  # fmt: skip
    assert main_metrics(scores_by_query(rows)) == [("odd", "odd_found")]
    assert main_columns(pl.DataFrame({"model": ["hash"], "odd/odd_found": [1.0]})) == ["odd/odd_found"]


def test_the_pipeline_scores_it(root, encode, monkeypatch):
    monkeypatch.setattr(evaluation, "asked_model", lambda name, *_: Embedder(name, encode))
    monkeypatch.setattr(evaluation.EncoderReference, "digest", lambda self: "model")
    settings = {"max_length": 8, "max_length_of": {}, "chunk_tokens": 8, "rerank_queries": 1, "depth": 10}
    parts = score_model(root / "sets", {"odd": SPEC}, root, root, {}, {"odd": ""}, settings, 1, name="m")
    assert [row["score"] for block in parts["odd"].rows() for row in block] == [1.0, 1.0]


def test_a_model_of_ones_own_searches_and_orders(root, capitals):
    found = evaluate(SharedCharacters(), capitals, depth=10)
    assert set(found.runs) == {RUN} and found.runs[RUN]["q2"]["fr"] == 8
    assert {row["score"] for row in found.rows if row["metric"] == "recall@1"} == {1.0}
    bm25 = {qid: {"food": 2.0, "jp": 1.0} for qid in capitals.queries}
    found = evaluate(SharedCharacters(largest=2), capitals, 10, lambda: bm25)
    assert set(found.runs) == {RERANKED} and found.runs[RERANKED]["q1"].keys() == {"food", "jp"}
    assert {row["task"] for row in found.rows} == {"capitals_rerank"}
    found = evaluate(SharedCharacters(), stored_task(root / "sets", "given"), 10)
    assert {row["score"] for row in found.rows if row["metric"] == "mrr@10"} == {1.0}


def test_both_go_through_the_command(root, encode):
    said = []
    published = {"title": None, "columns": {}, "average": False, "models": {}}
    bm25 = Bm25("bm25", lambda documents, queries, depth: [[] for _ in queries])
    types = {"odd": "odd_one_out", "given": "reranking"}
    for model in (SharedCharacters(), Embedder("hash", encode)):
        judged = EvaluatedModel(model, model.name, bm25, 10)
        table = evaluate_recipe(judged, root / "sets", types, root / "out", 1, said.append, published)
    assert said == ["odd: not a task for characters", "given ...", "odd ...", "given ..."]
    assert "| odd/odd_found | - |" in table and "given/ndcg@10" in table
    assert read_run(root / "out/characters/runs/given/run.trec.gz")["q1"] == {"林檎": 2.0, "蜜柑": 0.0}


@pytest.mark.parametrize("name", list(task_types()))
def test_every_type_is_scored_in_one_way(name):
    kind = task_types()[name]
    assert (kind.search is None) != (kind.score is None) and (kind.role is None) == (kind.score is None)
    assert np.all([callable(each) for each in (*kind.reading, *kind.collecting, *kind.scoring)])
