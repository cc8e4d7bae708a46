"""mteb's searches by a late interaction model, beside sentence-transformers' own scores."""

import json

import pytest
import yaml
from datasets import Dataset
from kedro_project import REPOSITORY
from mteb_stand_ins import search_rows, stand_in_data
from pytest import approx
from sentence_transformers import MultiVectorEncoder
from tiny import save_tiny_late

from ruri_kedro.benchmark.mteb.run import evaluate_tasks, missing_tasks
from ruri_kedro.benchmark.mteb.searcher import benchmark_searcher, searches
from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks
from ruri_kedro.models.saved import SavedModel

PARAMS = yaml.safe_load((REPOSITORY / "conf/base/parameters_benchmarks.yml").read_text("utf-8"))["mteb"]
INDEX = {"bits": 4, "centroids": None, "iterations": 4, "seed": 0, "shard_tokens": 1000, "probes": 8,
         "candidates": 100, "rescored": 50, "threads": 1}  # fmt: skip
BENCHMARK = "MTEB(jpn, v1)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_late(tmp_path_factory.mktemp("late") / "model")


def evaluate(folder, out, exact_documents, only):
    """Main scores by task, and the names of the tasks that were evaluated."""
    params = PARAMS | {"exact_documents": exact_documents}
    searcher = benchmark_searcher(SavedModel.of(str(folder), "cpu"), params, INDEX, out)
    with stand_in_data([BENCHMARK]):
        missing = missing_tasks([task for task in benchmark_tasks(BENCHMARK, only) if searches(task)], searcher, out)
        evaluate_tasks(missing, searcher, out)
    [found] = (out / "results").glob("*/*")
    scores = {name: json.loads((found / f"{name}.json").read_text("utf-8"))["scores"] for name in only}
    return {name: next(iter(rows.values()))[0]["main_score"] for name, rows in scores.items()}, len(missing)


def test_scores_are_max_sim_of_all_documents_or_of_the_given_ones(folder, tmp_path):
    [task] = benchmark_tasks(BENCHMARK, ["MrTidyRetrieval"])
    queries, corpus, _ = search_rows(task, "test")
    model = MultiVectorEncoder(str(folder), device="cpu")
    given = model.encode_document([f"{row['title']} {row['text']}" for row in corpus])
    expected = model.similarity(model.encode_query([row["text"] for row in queries]), given).tolist()
    searcher = benchmark_searcher(SavedModel.of(str(folder), "cpu"), PARAMS, INDEX, tmp_path)
    read = {"task_metadata": task.metadata, "encode_kwargs": {"batch_size": 4}}
    searcher.index(Dataset.from_list(corpus), hf_split="test", hf_subset="default", num_proc=None, **read)
    asked = Dataset.from_list(queries)
    found = searcher.search(asked, top_k=12, **read)
    assert list(found) == [row["id"] for row in queries]
    for row, scores in zip(found.values(), expected, strict=True):
        assert [row[doc["id"]] for doc in corpus] == approx(scores, abs=1e-4)
    some = searcher.search(asked, top_k=1, top_ranked={row["id"]: ["d3", "d1"] for row in queries}, **read)
    assert [list(row.values()) for row in some.values()] == [approx([s[3], s[1]], abs=1e-4) for s in expected]


def test_retrieval_and_reranking_are_done_once(folder, tmp_path):
    only = ["MrTidyRetrieval", "ESCIReranking"]
    scores, done = evaluate(folder, tmp_path, 100, only)
    assert done == 2 and evaluate(folder, tmp_path, 100, only) == (scores, 0)


def test_a_larger_collection_goes_through_an_index(folder, tmp_path):
    [task] = benchmark_tasks(BENCHMARK, ["MrTidyRetrieval"])
    queries, corpus, _ = search_rows(task, "test")
    found = []
    for exact_documents in (100, 3):
        params = PARAMS | {"exact_documents": exact_documents}
        searcher = benchmark_searcher(SavedModel.of(str(folder), "cpu"), params, INDEX, tmp_path)
        read = {"task_metadata": task.metadata, "encode_kwargs": {"batch_size": 4}}
        searcher.index(Dataset.from_list(corpus), **read)
        found.append(searcher.search(Dataset.from_list(queries), top_k=12, **read))
        assert (tmp_path / "indexes").exists() == (exact_documents == 3)
    for exact, scores in zip(*(run.values() for run in found), strict=True):
        assert scores == approx(exact, abs=0.3)
