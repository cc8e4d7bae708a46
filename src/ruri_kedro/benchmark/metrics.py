"""Metrics by the libraries that the field's figures were made with: trec_eval, SciPy, scikit-learn.

All are between 0 and 1 (Spearman: -1 and 1), never percent.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ruri_kedro.benchmark.runs import Qrels, Run, check_scores
from ruri_kedro.errors import DataError, RecipeError

RETRIEVAL_METRICS = ("ndcg@10", "recall@1", "recall@3", "recall@5", "recall@10", "mrr@10", "map@10")
RERANKING_METRICS = ("ndcg@10", "map@10", "mrr@10")
# Ruri, Table 5: nDCG@10 of JQaRA, MAP@10 of JaCWIR, Recall@30 of MIRACL; MRR@10 as their authors report too.
CANDIDATE_METRICS = (*RERANKING_METRICS, "recall@10", "recall@30")

_MEASURES = {"ndcg": "ndcg_cut", "recall": "recall", "map": "map_cut", "mrr": "recip_rank"}
_NAME = re.compile(r"(ndcg|recall|map|mrr)@([1-9]\d*)")


def parse_metric(metric: str) -> tuple[str, int]:
    """('ndcg', 10) of 'ndcg@10'; RecipeError for a name that is not known."""
    match = _NAME.fullmatch(metric)
    if match is None:
        raise RecipeError(f"metric '{metric}' is not known. Allowed: {', '.join(f'{name}@k' for name in _MEASURES)}.")
    return match[1], int(match[2])


def retrieval_scores(qrels: Qrels, run: Run, metrics: Sequence[str] = RETRIEVAL_METRICS) -> dict[str, dict[str, float]]:
    """metric -> qid -> score for every query of `qrels`; 0 for a query that the run does not have.

    Computed by pytrec_eval (trec_eval 9), which mteb uses too. A document without a judgment is not relevant; a
    query of the run without judgments is left out.
      ndcg@k    linear gain (the relevance itself), discount 1/log2(rank + 1), over the ideal of k ranks
      recall@k  relevant documents in the first k, over all relevant ones
      map@k     precision at each relevant document in the first k, their sum over the number of all relevant
                documents (not over min(k, that number)): map_cut_k
      mrr@k     1 / rank of the first relevant document, 0 where it is not in the first k
    Order: by score in single precision, ties by docid, descending (see `runs.ranked`).

    Raises DataError for a score that is not finite and for a run that shares no query with `qrels`.
    """
    import pytrec_eval

    parsed = {metric: parse_metric(metric) for metric in metrics}
    check_scores("run", run)
    if run and not qrels.keys() & run.keys():
        raise DataError(
            f"the run and the judgments share no query (for example '{next(iter(run))}'). Give those of one task."
        )
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, _measures(parsed.values()))
    found = evaluator.evaluate(
        {qid: {docid: float(score) for docid, score in scores.items()} for qid, scores in run.items()}
    )
    return {
        metric: {qid: _value(found.get(qid), name, cutoff) for qid in qrels}
        for metric, (name, cutoff) in parsed.items()
    }


def run_scores(qrels: Qrels, run: Run, metrics: Sequence[str]) -> Iterator[tuple[str, str, float]]:
    """(metric, qid, score) of `retrieval_scores`."""
    for metric, scores in retrieval_scores(qrels, run, metrics).items():
        yield from ((metric, qid, score) for qid, score in scores.items())


def _measures(parsed: Iterable[tuple[str, int]]) -> set[str]:
    """pytrec_eval's names, such as {'recall.1,5,10', 'recip_rank'}."""
    cutoffs: dict[str, set[int]] = {}
    for name, cutoff in parsed:
        cutoffs.setdefault(_MEASURES[name], set()).add(cutoff)
    return {
        measure if measure == "recip_rank" else f"{measure}.{','.join(map(str, sorted(values)))}"
        for measure, values in cutoffs.items()
    }


def _value(found: dict[str, float] | None, name: str, cutoff: int) -> float:
    if found is None:
        return 0.0
    if name != "mrr":
        return found[f"{_MEASURES[name]}_{cutoff}"]
    # trec_eval has no cut for recip_rank, but the value gives the rank away.
    reciprocal = found["recip_rank"]
    return reciprocal if reciprocal and round(1 / reciprocal) <= cutoff else 0.0


def cosines(vectors1: np.ndarray, vectors2: np.ndarray) -> np.ndarray:
    """Cosines (n,) of the rows of two arrays (n, d) of vectors of length 1."""
    return np.einsum("nd,nd->n", vectors1, vectors2)


def spearman(cosines: Sequence[float], gold: Sequence[float]) -> float:
    """Spearman's rank correlation of two equally long sequences; ties share their mean rank.

    Cosines that are all the same order nothing and score 0. Raises DataError where the gold scores are all the same
    or a value is not finite.
    """
    from scipy.stats import spearmanr

    _check_order(cosines, gold)
    return float(spearmanr(cosines, gold).statistic) if np.ptp(cosines) > 0 else 0.0


def spearman_parts(cosines: Sequence[float], gold: Sequence[float]) -> np.ndarray:
    """What each pair has of `spearman`, (n,): the correlation plus the pair's influence on it; their mean is it.

    The influences (Croux and Dehon 2010, "Influence functions of the Spearman and Kendall correlation measures") are
    those of mean ranks, with ties. Their spread is the correlation's, so a paired test of two models and a bootstrap
    over pairs are those of the correlation, as by the jackknife and without leaving out every pair in turn.
    """
    _check_order(cosines, gold)
    if np.ptp(cosines) == 0:
        return np.zeros(len(gold))
    first, second = _Ranks.of(cosines), _Ranks.of(gold)
    products = first.standard * second.standard
    correlation = products.mean()
    moved = first.moved_by_each(second.standard) + second.moved_by_each(first.standard)
    return products + moved - 2 * correlation + correlation * (first.spread_by_each + second.spread_by_each)


@dataclass(frozen=True)
class _Ranks:
    """Mean ranks of n values, and what adding each of the values once more does to them."""

    standard: np.ndarray  # (n,): mean 0 and standard deviation 1
    deviation: float  # of the ranks as shares of n
    group: np.ndarray  # (n,): number of the group of equal values, in ascending order
    sizes: np.ndarray  # of the groups

    @staticmethod
    def of(values: Sequence[float]) -> "_Ranks":
        _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
        shares = ((np.cumsum(sizes) - sizes / 2) / len(group))[group]
        deviation = shares.std()
        return _Ranks((shares - shares.mean()) / deviation, float(deviation), group, sizes)

    def moved_by_each(self, others: np.ndarray) -> np.ndarray:
        """(n,): the mean of `others`, (n,) with mean 0, over the values whose rank a value raises, its equals half."""
        sums = np.bincount(self.group, weights=others)
        above = sums[::-1].cumsum()[::-1] - sums / 2
        return above[self.group] / len(others) / self.deviation

    @property
    def spread_by_each(self) -> np.ndarray:
        """(n,): what a value does to the ranks' deviation, which without ties is the same whatever they are."""
        shares = self.sizes / self.sizes.sum()
        tied = (shares**3).sum()
        return 1.5 * (shares[self.group] ** 2 - tied) / (1 - tied)


def _check_order(cosines: Sequence[float], gold: Sequence[float]) -> None:
    if len(cosines) != len(gold) or not np.isfinite(cosines).all() or not np.isfinite(gold).all():
        raise DataError(
            f"{len(cosines)} cosines and {len(gold)} gold scores: as many finite numbers are needed of each."
        )
    if len(set(gold)) < 2:
        raise DataError("the gold scores are all the same: there is no order to compare with.")


def classification_scores(
    train_vectors: np.ndarray,
    train_labels: Sequence[str],
    test_vectors: np.ndarray,
    test_labels: Sequence[str],
    seed: int,
    max_iter: int = 1000,
) -> tuple[float, list[float]]:
    """Macro F1 of a logistic regression on vectors of shape (n, d), and for each test text 1 or 0: its label is right.

    Fitted on all training data with scikit-learn's defaults (L2 penalty, C = 1). mteb fits the same model ten times
    on 8 texts of each label, so its figures are not comparable. Macro F1 is the plain mean over the labels that occur
    in the test part or among the predictions.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    model = LogisticRegression(max_iter=max_iter, random_state=seed)
    predicted = model.fit(train_vectors, train_labels).predict(test_vectors)
    macro_f1 = float(f1_score(test_labels, predicted, average="macro", zero_division=0))
    return macro_f1, (predicted == np.asarray(test_labels)).astype(float).tolist()


def multilabel_scores(
    train_vectors: np.ndarray,
    train_labels: Sequence[Sequence[str]],
    test_vectors: np.ndarray,
    test_labels: Sequence[Sequence[str]],
) -> tuple[dict[str, float], list[float]]:
    """{'macro_f1', 'lrap'} of the five nearest neighbours in vectors of shape (n, d), and for each test text 1 or 0.

    mteb's classifier and metrics, on all training data; mteb draws ten samples of it. A text is right, 1, if it has
    all its labels and no other. Labels are those of the test part, as in mteb.
    """
    from sklearn.metrics import f1_score, label_ranking_average_precision_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import MultiLabelBinarizer

    binarizer = MultiLabelBinarizer().fit(test_labels)
    known = set(binarizer.classes_)
    gold = binarizer.transform(test_labels)
    trained = binarizer.transform([[label for label in labels if label in known] for labels in train_labels])
    model = KNeighborsClassifier(n_neighbors=min(5, len(train_vectors)))
    predicted = model.fit(train_vectors, trained).predict(test_vectors).reshape(gold.shape)
    whole = {
        "macro_f1": float(f1_score(gold, predicted, average="macro", zero_division=0)),
        "lrap": float(label_ranking_average_precision_score(gold, predicted)),
    }
    return whole, (predicted == gold).all(axis=1).astype(float).tolist()


def pair_scores(cosines: np.ndarray, labels: Sequence[int]) -> dict[str, float]:
    """{'ap', 'f1'} of the order of pairs by cosine: average precision, and F1 at the best threshold of these pairs.

    mteb's cosine_ap and cosine_f1; its main score, max_ap, is the best over cosine and three other similarities.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, cosines)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return {"ap": float(average_precision_score(labels, cosines)), "f1": float(f1.max())}


def bitext_scores(vectors1: np.ndarray, vectors2: np.ndarray, block: int = 1024) -> tuple[float, list[float]]:
    """F1 as mteb has it (weighted over the texts), and for each text 1 or 0: whether row i of `vectors2`, and no
    other, is the nearest to row i of `vectors1`. Of equally near ones the first counts.
    """
    from sklearn.metrics import f1_score

    starts = range(0, len(vectors1), block)
    nearest = np.concatenate([(vectors1[start : start + block] @ vectors2.T).argmax(axis=1) for start in starts])
    gold = np.arange(len(vectors1))
    f1 = float(f1_score(gold, nearest, average="weighted", zero_division=0))
    return f1, (nearest == gold).astype(float).tolist()


def clustering_scores(vectors: np.ndarray, labels: Sequence[str], seed: int, batch_size: int = 500) -> dict[str, float]:
    """{'v_measure'} of mini-batch k-means on vectors of shape (n, d), with as many clusters as there are labels.

    The settings of mteb's ClusteringEvaluator.
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import v_measure_score

    model = MiniBatchKMeans(n_clusters=len(set(labels)), batch_size=batch_size, n_init="auto", random_state=seed)
    return {"v_measure": float(v_measure_score(labels, model.fit(vectors).labels_))}
