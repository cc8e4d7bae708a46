"""Evaluation of embedders, runs and rerankers, and the exact search behind it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.benchmark.runs import ranked
from ruri_kedro.benchmark.scoring.evaluate import evaluate_embedder, evaluate_reranking, evaluate_run, summarize
from ruri_kedro.benchmark.scoring.exact import score_candidates, search_exact
from ruri_kedro.benchmark.scoring.models import Embedder, Reranker
from ruri_kedro.benchmark.tasks.classification import ClassificationTask
from ruri_kedro.benchmark.tasks.clustering import ClusteringTask
from ruri_kedro.benchmark.tasks.sts import StsTask
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables.schema import SCORES
from ruri_kedro.tables.store import to_batch

BM25 = {"q1": {"jp": 3.0, "food": 2.0}, "q2": {"jp": 2.0, "fr": 1.0}, "q3": {"fr": 1.0}}


def small_vectors(rows: int, seed: int) -> np.ndarray:
    """Vectors of few distinct values: many products are equal."""
    return np.random.default_rng(seed).integers(-1, 2, size=(rows, 3)).astype(np.float32)


@given(st.integers(1, 6), st.integers(1, 25), st.integers(1, 30), st.integers(1, 60), st.integers(0, 9))
def test_search_is_the_full_ranking_cut(queries, documents, k, block_scores, seed):
    query_vectors, document_vectors = small_vectors(queries, seed), small_vectors(documents, seed + 1)
    qids, docids = [f"q{i}" for i in range(queries)], [f"d{i}" for i in range(documents)]
    run = search_exact(qids, query_vectors, docids, document_vectors, k, block_scores)
    for number, qid in enumerate(qids):
        full = dict(zip(docids, (document_vectors @ query_vectors[number]).tolist(), strict=True))
        assert list(run[qid]) == ranked(full)[:k]
        assert all(full[docid] == score for docid, score in run[qid].items())


def test_candidates_get_the_scores_of_the_search():
    queries, documents = small_vectors(3, 0), small_vectors(9, 1)
    docids = list("abcdefghi")
    run = search_exact(["q1", "q2", "q3"], queries, docids, documents, 4)
    assert score_candidates(run, queries, dict(zip(docids, documents, strict=True))) == run


def test_an_embedder_is_scored_per_query(capitals, encode):
    rows = evaluate_embedder("hash", capitals, encode)
    assert to_batch(rows, SCORES).num_rows == 7 * 3
    found = {(row["metric"], row["query_id"]): row["score"] for row in rows}
    assert {found["recall@1", qid] for qid in capitals.queries} == {1.0}
    assert {(row["model"], row["task"]) for row in rows} == {("hash", "capitals")}


def test_every_type_of_task_asks_for_its_roles(capitals, encode):
    asked: list[tuple[str, int]] = []

    def recording(texts, role):
        asked.append((role, len(texts)))
        return encode(texts, role)

    sts = StsTask("sts", ("犬が走る", "雨が降る"), ("犬が走った", "猫が寝る"), (4.0, 0.5))
    classes = ClassificationTask("pn", ("良い宿", "悪い宿"), ("1", "0"), ("良い",), ("1",))
    clusters = ClusteringTask("news", ("雨が降る", "雨が降った", "株が上がる"), ("w", "w", "m"))
    rows = [row for task in (capitals, sts, classes, clusters) for row in evaluate_embedder("hash", task, recording)]
    assert asked == [
        ("query", 3),
        ("document", 4),
        ("sts", 2),
        ("sts", 2),
        ("classification", 2),
        ("classification", 1),
        ("clustering", 3),
    ]
    whole = {(row["task"], row["metric"]): row["score"] for row in rows if row["query_id"] == ""}
    assert set(whole) == {("pn", "macro_f1"), ("news", "v_measure")}
    parts = {row["query_id"]: row["score"] for row in rows if row["metric"] == "spearman"}
    assert parts.keys() == {"0", "1"} and np.mean(list(parts.values())) == pytest.approx(1.0)
    assert next((row["metric"], row["query_id"]) for row in rows if row["task"] == "pn") == ("accuracy", "0")


def test_a_collapsed_encoder_scores_by_docid_alone(capitals):
    def collapsed(texts, role):
        return np.tile(np.float32([1, 0]), (len(texts), 1))

    # All documents tie, so each query gets jp, it, fr, food.
    rows = evaluate_embedder("collapsed", capitals, collapsed, k=10, metrics=["mrr@10"])
    assert [row["score"] for row in rows] == pytest.approx([1, 1 / 3, 1 / 2])
    sts = StsTask("sts", ("犬", "猫"), ("鳥", "魚"), (4.0, 0.5))
    assert evaluate_embedder("collapsed", sts, collapsed)[0]["score"] == 0


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda v: v[:-1], r"role 'query': 3 finite vectors expected, got shape \(2, 256\)"),
        (lambda v: v[0], r"3 finite vectors expected, got shape \(256,\)"),
        (lambda v: v * np.nan, "with 768 values that are not finite"),
        (lambda v: v * np.float32([[1], [1], [2]]), r"role 'query', text 2: its vector has length 2\. Normalise"),
    ],
)
def test_vectors_that_are_wrong_are_refused(capitals, encode, broken, message):
    with pytest.raises(DataError, match=f"^model 'bad', task 'capitals', .*{message}"):
        evaluate_embedder("bad", capitals, lambda texts, role: broken(encode(texts, role)))


def test_a_metric_may_not_look_deeper_than_the_search(capitals, encode):
    with pytest.raises(RecipeError, match="task 'capitals', key 'k': 5 documents are too few for ndcg@10"):
        evaluate_embedder("hash", capitals, encode, k=5)


def test_a_run_is_scored_like_an_embedder(capitals, encode):
    run = Embedder("hash", encode).search(capitals, 10, {})[0]
    assert evaluate_run("hash", capitals, run) == evaluate_embedder("hash", capitals, encode, k=10)
    scores = {row["query_id"]: row["score"] for row in evaluate_run("bm25", capitals, BM25, ["recall@1"])}
    assert scores == {"q1": 1.0, "q2": 0.0, "q3": 0.0}


def test_models_are_compared_on_the_same_candidates(capitals, encode):
    def score(pairs):
        queries, passages = zip(*pairs, strict=True)
        return np.einsum("nd,nd->n", encode(list(queries), "query"), encode(list(passages), "document"))

    by_pairs = Reranker("pairs", score).order(capitals, BM25)
    by_vectors = Embedder("hash", encode).order(capitals, BM25)
    for qid, candidates in BM25.items():
        assert by_pairs[qid].keys() == by_vectors[qid].keys() == candidates.keys()
        assert by_pairs[qid] == pytest.approx(by_vectors[qid], abs=1e-6)
    rows = evaluate_reranking("hash", capitals, by_pairs)
    assert {(row["task"], row["metric"]) for row in rows} == {
        ("capitals_rerank", "ndcg@10"),
        ("capitals_rerank", "map@10"),
        ("capitals_rerank", "mrr@10"),
    }
    # q3's positive is not a candidate.
    assert {row["query_id"]: row["score"] for row in rows if row["metric"] == "mrr@10"} == {"q1": 1, "q2": 1, "q3": 0}


def test_pairs_come_in_bounded_calls(capitals):
    run = {qid: {"jp": 1.0, "fr": 0.5} for qid in (f"q{i}" for i in range(150))}
    many = type(capitals)("many", dict.fromkeys(run, "首都は?"), capitals.corpus, {"q0": {"jp": 1}})
    calls: list[int] = []

    def score(pairs):
        calls.append(len(pairs))
        return np.arange(len(pairs), dtype=np.float32)

    assert list(Reranker("pairs", score).order(many, run)) == list(run)
    assert calls == [128, 128, 44]


@pytest.mark.parametrize("scores", [np.zeros(4), np.zeros((5, 1)), np.array([1, 2, 3, 4, np.nan])])
def test_scores_that_do_not_fit_the_pairs_are_refused(capitals, scores):
    with pytest.raises(DataError, match="task 'capitals', query 'q1' and on: 5 finite scores expected"):
        Reranker("pairs", lambda pairs: scores).order(capitals, BM25)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"q9": {"jp": 1.0}}, "task 'capitals': the run has a query 'q9'"),
        ({"q1": {"us": 1.0}}, "task 'capitals', query 'q1': document 'us' of the run is not in the corpus"),
        ({"q1": {"jp": np.nan}}, "task 'capitals', query 'q1', document 'jp': the score is nan"),
    ],
)
def test_a_run_that_does_not_fit_its_task_is_named(capitals, encode, run, message):
    for use in (
        lambda: evaluate_run("x", capitals, run),
        lambda: evaluate_reranking("x", capitals, run),
        lambda: Reranker("x", lambda pairs: np.zeros(len(pairs))).order(capitals, run),
        lambda: Embedder("x", encode).order(capitals, run),
    ):
        with pytest.raises(DataError, match=message):
            use()


def scored(model: str, task: str, metric: str, *scores: float) -> list[dict]:
    return [
        {"model": model, "task": task, "metric": metric, "query_id": str(i), "score": score}
        for i, score in enumerate(scores)
    ]


ROWS = [
    *scored("b", "t2", "ndcg@10", 0.1, 0.2, 0.3),
    *scored("b", "t1", "spearman", 0.5),
    *scored("a", "t2", "ndcg@10", 1.0, 0.0),
    *scored("a", "t2", "mrr@10", 1.0),
]


def test_a_summary_has_the_means_in_order_of_appearance():
    table = summarize(ROWS)
    assert table.columns == ["model", "t2/ndcg@10", "t2/mrr@10", "t1/spearman"]
    assert table.rows() == [("b", pytest.approx(0.2), None, 0.5), ("a", 0.5, 1.0, None)]


def test_a_summary_takes_the_order_that_is_asked_for():
    table = summarize(iter(ROWS), models=["a", "b"], tasks=["t1"])
    assert table.columns == ["model", "t1/spearman"]
    assert table.rows() == [("a", None), ("b", 0.5)]


@given(st.permutations(scored("m", "t", "ndcg@10", 0.1, 1e-9, 0.3, 0.7, 1 / 3)))
def test_a_mean_does_not_depend_on_the_order_of_rows(rows):
    assert summarize(rows)["t/ndcg@10"][0] == summarize(sorted(rows, key=lambda row: row["query_id"]))["t/ndcg@10"][0]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"models": ["c"]}, "model 'c' has no scores.*: b, a"),
        ({"tasks": ["t1", "t3"]}, "task 't3' has no scores.*: t2, t1"),
    ],
)
def test_a_name_without_scores_is_named(wanted, message):
    with pytest.raises(DataError, match=message):
        summarize(ROWS, **wanted)
