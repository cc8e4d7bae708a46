"""What training must not have seen of mteb's benchmarks, on stand-in data of every type of task."""

import pytest
from mteb_stand_ins import search_rows, stand_in_data

from ruri_kedro.benchmark.mteb import tasks as mteb_tasks
from ruri_kedro.benchmark.mteb import texts as mteb_texts
from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks, fresh
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.pipelines.data_engineering import nodes
from ruri_kedro.tables import SCHEMAS, write_table

BENCHMARKS = ("MTEB(jpn, v1)", "JMTEB(v2)", "MTEB(rus, v1)")
JMTEB = BENCHMARKS[:1]


@pytest.fixture(scope="module", autouse=True)
def stand_ins():
    with stand_in_data(BENCHMARKS):
        yield


def rows_of(task):
    loaded = fresh(task)
    loaded.load_data()
    return list(mteb_texts.mteb_texts(loaded))


def of_role(rows, role):
    return [row["text"] for row in rows if row["role"] == role]


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_task_gives_its_texts_and_no_label(benchmark):
    for task in benchmark_tasks(benchmark):
        rows = rows_of(task)
        assert rows and {row["test"] for row in rows} == {task.metadata.name}
        assert all(row["text"].startswith(f"{task.metadata.name}|") for row in rows)
        assert len({(row["role"], row["item_id"], row["text"]) for row in rows}) == len(rows)


def test_sentence_pairs_give_both_sides_and_collections_all_passages():
    (jsts,) = benchmark_tasks(*JMTEB, ["JSTS"])
    loaded = fresh(jsts)
    loaded.load_data()
    pairs = loaded.dataset["validation"]
    assert set(of_role(rows_of(jsts), "text")) == {*pairs["sentence1"], *pairs["sentence2"]}
    (tydi,) = benchmark_tasks(*JMTEB, ["MrTidyRetrieval"])  # in the form that mteb converts
    queries, corpus, _ = search_rows(tydi, "test")
    rows = rows_of(tydi)
    assert of_role(rows, "query") == [row["text"] for row in queries]
    assert of_role(rows, "passage") == [f"{row['title']} {row['text']}" for row in corpus]


def test_of_a_large_collection_only_queries_and_their_positives(monkeypatch):
    monkeypatch.setattr(mteb_texts, "LARGEST_COLLECTION", 5)
    (task,) = benchmark_tasks(*JMTEB, ["JaGovFaqsRetrieval"])
    rows = rows_of(task)
    queries, corpus, qrels = search_rows(task, "test")
    texts = {row["id"]: row["text"] for row in corpus}
    assert of_role(rows, "passage") == []
    by_query = {}
    for row in rows:
        by_query.setdefault(row["item_id"], []).append((row["role"], row["text"]))
    assert by_query == {
        f"default/test/{query['id']}": [("query", query["text"])]
        + [("positive", texts[docid]) for docid in qrels[query["id"]]]
        for query in queries
    }


def test_the_recipe_has_a_part_per_task_read_once(tmp_path, monkeypatch):
    parts = nodes.collect_test_texts(tmp_path, tmp_path, {}, {}, list(JMTEB))
    table = write_table(tmp_path / "test_texts", SCHEMAS["test_texts"], parts)
    assert table.parts() == sorted(task.metadata.name for task in benchmark_tasks(*JMTEB))
    assert table.rows() > 300
    for task in benchmark_tasks(*JMTEB):
        monkeypatch.setattr(type(task), "load_data", lambda *_, **__: pytest.fail("read again"))
    again = nodes.collect_test_texts(tmp_path, tmp_path, {}, {}, list(JMTEB))
    assert write_table(tmp_path / "test_texts", SCHEMAS["test_texts"], again).digest() == table.digest()


def test_a_benchmark_that_cannot_be_had_is_said_before_passages_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(mteb_tasks, "hub_reachable", lambda: False)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"(?s)data of 16 of 16 tasks.*JSTS: mteb/JSTS is not there.*`tested_on`"):
        nodes.read_tasks(tmp_path, {}, list(JMTEB))
    with pytest.raises(RecipeError, match=r"Did you mean: MTEB\(jpn, v1\)"):
        nodes.read_tasks(tmp_path, {}, ["MTEB(jpn, v3)"])
    assert nodes.read_tasks(tmp_path, {}) == {}
