"""The shipped test questions are neither trivial nor hopeless for lexical search."""

from pathlib import Path

from ruri_kedro.benchmark.scoring.evaluate import evaluate_run, summarize
from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.search.bm25.index import BM25Settings, build_index, search

RAW = Path(__file__).resolve().parents[1] / "data/01_raw/sample"
SPEC = {
    "type": "retrieval",
    "shape": "qa",
    "path": "questions/test.jsonl.gz",
    "corpus": {"path": "articles.jsonl.gz", "shape": "articles"},
}


def test_bm25_finds_some_answers_and_misses_others(tmp_path):
    task = load_task("questions", SPEC, RAW)
    settings = BM25Settings(analyzer="ja", k1=0.9, b=0.4, threads=2, heap_mb=512, engine="lucene")
    build_index(task.corpus.items(), tmp_path / "index", settings, "key")
    hits = search(tmp_path / "index", list(task.queries.values()), 100, settings)
    run = {qid: dict(found) for qid, found in zip(task.queries, hits, strict=True)}
    score = summarize(evaluate_run("bm25", task, run))["questions/ndcg@10"][0]
    assert 0.5 < score < 0.9
