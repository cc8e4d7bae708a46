"""Metrics: against direct formulas, mteb's calculation, and figures published for JQaRA."""

import math
from statistics import mean

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.benchmark.metrics import (
    RETRIEVAL_METRICS,
    classification_scores,
    clustering_scores,
    retrieval_scores,
    spearman,
    spearman_parts,
)
from ruri_kedro.benchmark.runs import read_qrels, read_run
from ruri_kedro.errors import DataError, RecipeError

docids = st.integers(0, 25).map("d{}".format)
# Halves tie often and are exact in single precision.
halves = st.integers(-4, 8).map(lambda n: n / 2)
qrels_of_one = st.dictionaries(docids, st.integers(0, 3), min_size=1, max_size=15)
run_of_one = st.dictionaries(docids, halves, max_size=20)


def formulas(judged: dict[str, int], scores: dict[str, float], k: int) -> dict[str, float]:
    """The metrics as their definitions have them, for one query."""
    order = sorted(scores, key=lambda docid: (scores[docid], docid), reverse=True)[:k]
    gains = [max(0, judged.get(docid, 0)) for docid in order]
    ideal = sorted(judged.values(), reverse=True)[:k]
    relevant = sum(gain > 0 for gain in judged.values())
    hits = [gain > 0 for gain in gains]

    def dcg(values: list[int]) -> float:
        return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(values, start=1))

    return {
        "ndcg": dcg(gains) / dcg(ideal) if relevant else 0.0,
        "recall": sum(hits) / relevant if relevant else 0.0,
        "mrr": next((1 / rank for rank, hit in enumerate(hits, start=1) if hit), 0.0),
        "map": sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit) / max(1, relevant),
    }


@given(qrels_of_one, run_of_one, st.integers(1, 12))
def test_retrieval_scores_are_their_formulas(judged, scores, k):
    metrics = [f"{name}@{k}" for name in ("ndcg", "recall", "mrr", "map")]
    found = retrieval_scores({"q": judged}, {"q": scores}, metrics)
    for name, value in formulas(judged, scores, k).items():
        assert found[f"{name}@{k}"]["q"] == pytest.approx(value, abs=1e-9), name


@given(
    st.dictionaries(st.sampled_from("abcdef"), qrels_of_one, min_size=1),
    st.dictionaries(st.sampled_from("abcdef"), run_of_one, min_size=1),
)
def test_every_judged_query_has_a_score_and_no_other(qrels, run):
    if not qrels.keys() & run.keys():
        return
    found = retrieval_scores(qrels, run)
    assert list(found) == list(RETRIEVAL_METRICS)
    for scores in found.values():
        assert list(scores) == list(qrels)
        assert all(0 <= score <= 1 + 1e-9 for score in scores.values())
        assert all(scores[qid] == 0 for qid in qrels if not run.get(qid))


def test_retrieval_scores_are_those_of_mteb():
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

    rng = np.random.default_rng(0)
    qrels, run = {}, {}
    for number in range(40):
        qrels[f"q{number}"] = {f"d{i}": int(rng.integers(0, 3)) for i in rng.choice(60, 12, replace=False)}
        run[f"q{number}"] = {f"d{i}": float(rng.integers(0, 20)) for i in rng.choice(60, 30, replace=False)}
    theirs = calculate_retrieval_scores(run, qrels, [1, 5, 10])
    ours = {metric: mean(scores.values()) for metric, scores in retrieval_scores(qrels, run).items()}
    # mteb rounds its means to five places.
    assert ours["ndcg@10"] == pytest.approx(theirs.ndcg["NDCG@10"], abs=1e-5)
    assert ours["recall@5"] == pytest.approx(theirs.recall["Recall@5"], abs=1e-5)
    assert ours["map@10"] == pytest.approx(theirs.map["MAP@10"], abs=1e-5)
    assert ours["mrr@10"] == pytest.approx(theirs.mrr["MRR@10"], abs=1e-5)


def test_map_divides_by_all_relevant_documents():
    judged = {f"d{i:02}": 1 for i in range(20)}
    perfect = dict.fromkeys(judged, 1.0)
    assert retrieval_scores({"q": judged}, {"q": perfect}, ["map@10"])["map@10"]["q"] == pytest.approx(0.5)


def test_mrr_is_cut():
    run = {"q": {f"d{i:02}": -float(i) for i in range(30)}}
    for rank in (1, 9, 10, 11, 30):
        scores = retrieval_scores({"q": {f"d{rank - 1:02}": 1}}, run, ["mrr@10"])
        assert scores["mrr@10"]["q"] == (pytest.approx(1 / rank) if rank <= 10 else 0)


@pytest.mark.parametrize(
    ("name", "ndcg", "mrr"),
    [("bm25", 0.4580, 0.7020), ("ruri-base", 0.5835, 0.8097), ("ruri-reranker-small", 0.6446, 0.8600)],
)
def test_jqara_runs_have_the_figures_of_trec_eval(shared_data, name, ndcg, mrr):
    qrels = read_qrels(shared_data / "jqara" / "qrels.trec.gz")
    run = read_run(shared_data / "jqara" / "runs" / f"{name}.trec.gz")
    found = retrieval_scores(qrels, run, ["ndcg@10", "mrr@10"])
    assert {metric: round(mean(scores.values()), 4) for metric, scores in found.items()} == {
        "ndcg@10": ndcg,
        "mrr@10": mrr,
    }


@pytest.mark.parametrize("metric", ["ndcg", "ndcg@0", "ndcg@x", "precision@5", "recall@-1"])
def test_an_unknown_metric_is_named(metric):
    with pytest.raises(RecipeError, match=rf"metric '{metric}' is not known. Allowed: ndcg@k, recall@k, map@k, mrr@k"):
        retrieval_scores({"q": {"d": 1}}, {"q": {"d": 1.0}}, [metric])


def test_a_run_of_another_task_is_refused():
    with pytest.raises(DataError, match=r"share no query .*'other'"):
        retrieval_scores({"q": {"d": 1}}, {"other": {"d": 1.0}})


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_named(score):
    with pytest.raises(DataError, match="query 'q', document 'd2': the score is"):
        retrieval_scores({"q": {"d": 1}}, {"q": {"d": 1.0, "d2": score}})


def test_an_empty_run_scores_nothing():
    assert retrieval_scores({"q": {"d": 1}}, {}, ["ndcg@10"]) == {"ndcg@10": {"q": 0.0}}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=2, max_size=30))
def test_spearman_is_the_correlation_of_mean_ranks(pairs):
    cosines, gold = ([value / 10 for value in column] for column in zip(*pairs, strict=True))
    if len(set(gold)) < 2:
        return
    ours = spearman(cosines, gold)
    assert spearman_parts(cosines, gold).mean() == pytest.approx(ours, abs=1e-12), "what each pair has of it"
    if len(set(cosines)) < 2:
        assert ours == 0
    else:
        assert ours == pytest.approx(pd.Series(cosines).rank().corr(pd.Series(gold).rank()))


@pytest.mark.parametrize("grades", [11, 10_000], ids=["scores of people", "hardly any ties"])
def test_the_parts_of_spearman_are_those_of_the_jackknife(grades):
    rng = np.random.default_rng(3)
    gold = rng.integers(0, grades, 300) / grades
    cosines = gold + rng.normal(0, 0.4, 300)
    without = [spearman(np.delete(cosines, n), np.delete(gold, n)) for n in range(300)]
    left_out = 300 * spearman(cosines, gold) - 299 * np.array(without)
    parts = spearman_parts(cosines, gold)
    assert np.corrcoef(parts, left_out)[0, 1] > 0.999
    assert parts.std() == pytest.approx(left_out.std(), rel=0.01)


@pytest.mark.parametrize(
    ("cosines", "gold", "message"),
    [
        ([0.1, 0.2], [3.0, 3.0], "all the same"),
        ([0.1], [3.0, 4.0], "1 cosines and 2 gold scores"),
        ([0.1, math.nan], [3.0, 4.0], "finite numbers"),
    ],
)
def test_spearman_refuses_what_has_no_order(cosines, gold, message):
    for measure in (spearman, spearman_parts):
        with pytest.raises(DataError, match=message):
            measure(cosines, gold)


def blobs(labels: list[str], spread: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = dict(zip(sorted(set(labels)), np.eye(8), strict=False))
    vectors = np.stack([centres[label] for label in labels]) + rng.normal(scale=spread, size=(len(labels), 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_separable_labels_are_learnt_and_others_are_not():
    labels = ["a", "b", "c"] * 20
    clear = blobs(labels, 0.05)
    assert classification_scores(clear, labels, clear, labels, seed=0) == (1.0, [1.0] * 60)
    noise = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)
    _, right = classification_scores(noise[:30], labels[:30], noise[30:], labels[30:], seed=0)
    assert np.mean(right) < 0.7


def test_macro_f1_weighs_labels_alike():
    train = blobs(["a", "b"] * 20, 0.05)
    test = blobs(["a"] * 9, 0.05)
    # Nine 'a' are found, one of them is called 'b': F1 of a is 16/17, of b 0.
    found = classification_scores(train, ["a", "b"] * 20, test, ["a"] * 8 + ["b"], seed=0)
    assert found == (pytest.approx((16 / 17 + 0) / 2), [1.0] * 8 + [0.0])


def test_a_test_label_that_was_never_seen_counts_as_wrong():
    train, labels = blobs(["a", "b"] * 20, 0.05), ["a", "b"] * 20
    assert classification_scores(train, labels, train[:2], ["a", "new"], seed=0)[1] == [1.0, 0.0]


def test_clusters_are_compared_with_labels():
    labels = ["a", "b", "c", "d"] * 25
    assert clustering_scores(blobs(labels, 0.03), labels, seed=0) == {"v_measure": pytest.approx(1.0)}
    mixed = clustering_scores(blobs(labels, 0.5), labels, seed=0)
    assert mixed["v_measure"] < 0.9
    assert mixed == clustering_scores(blobs(labels, 0.5), labels, seed=0)


def test_clusters_are_those_of_mteb():
    import mteb
    from datasets import Dataset
    from mteb._evaluators import ClusteringEvaluator
    from mteb.timing import TimingStack
    from sklearn.metrics import v_measure_score

    labels = ["a", "b", "c", "d"] * 50
    vectors = blobs(labels, 0.4)

    class Model:
        def encode(self, inputs, **kwargs):
            return vectors

    metadata = mteb.get_task("LivedoorNewsClustering.v2").metadata
    evaluator = ClusteringEvaluator(
        Dataset.from_dict({"sentences": ["文"] * len(labels), "labels": labels}),
        input_column_name="sentences",
        label_column_name="labels",
        task_metadata=metadata,
        hf_split="test",
        hf_subset="default",
        timer=TimingStack(),
        seed=7,
    )
    clusters = evaluator(Model(), encode_kwargs={})
    assert clustering_scores(vectors, labels, seed=7)["v_measure"] == pytest.approx(v_measure_score(labels, clusters))
