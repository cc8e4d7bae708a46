"""Scores of embedders, rerankers and BM25, as rows of SCORES: one per query where a metric has queries.

A metric of a whole task (Spearman, macro F1, V-measure, average precision, ...) is one row with an empty query_id.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from ruri_kedro.benchmark.runs import Run, check_scores
from ruri_kedro.benchmark.scoring.exact import score_candidates, search_exact
from ruri_kedro.benchmark.scoring.metrics import (
    CANDIDATE_METRICS,
    RERANKING_METRICS,
    RETRIEVAL_METRICS,
    bitext_scores,
    classification_scores,
    clustering_scores,
    multilabel_scores,
    pair_scores,
    parse_metric,
    retrieval_scores,
    spearman,
)
from ruri_kedro.benchmark.tasks.load import (
    BitextTask,
    ClassificationTask,
    MultilabelTask,
    PairTask,
    RerankingTask,
    RetrievalTask,
    StsTask,
    Task,
)
from ruri_kedro.benchmark.tasks.specs import RERANKING_SUFFIX
from ruri_kedro.errors import DataError, RecipeError

# (texts, role) -> float32 (n, d), rows of length 1. Roles: query, document, and the other types of task by name; what
# prompt a role has is the caller's affair.
Encode = Callable[[list[str], str], np.ndarray]
# (query, passage) pairs -> (n,) scores, higher is better.
Score = Callable[[list[tuple[str, str]]], np.ndarray]

_QUERIES_PER_CALL = 64  # a few thousand pairs at 100 candidates: enough to sort by length, and a bounded list


def evaluate_embedder(
    model_name: str,
    task: Task,
    encode: Encode,
    k: int = 100,
    seed: int = 0,
    max_iter: int = 1000,
    metrics: Sequence[str] = RETRIEVAL_METRICS,
) -> list[dict]:
    """Rows of SCORES for an embedding model on any task.

    Retrieval searches the whole corpus exactly and keeps the first `k`; `metrics` are for retrieval only, `seed` and
    `max_iter` for classification and clustering. Raises DataError where `encode` does not return one finite unit
    vector per text, RecipeError where a metric looks deeper than `k`.
    """

    def vectors(texts: Iterable[str], role: str) -> np.ndarray:
        return _encoded(model_name, task, encode, list(texts), role)

    if isinstance(task, RetrievalTask):
        return evaluate_run(model_name, task, embedder_run(model_name, task, encode, k, metrics), metrics)
    if isinstance(task, StsTask | PairTask):
        role = "sts" if isinstance(task, StsTask) else "pair"
        cosines = np.einsum("nd,nd->n", vectors(task.texts1, role), vectors(task.texts2, role))
        scores = {"spearman": spearman(cosines, task.scores)} if role == "sts" else pair_scores(cosines, task.labels)
        return _task_rows(model_name, task, scores)
    if isinstance(task, BitextTask):
        f1, found = bitext_scores(vectors(task.texts1, "bitext"), vectors(task.texts2, "bitext"))
        by_text = [_row(model_name, task.name, "accuracy", str(number), hit) for number, hit in enumerate(found)]
        return [*by_text, *_task_rows(model_name, task, {"f1": f1})]
    if isinstance(task, MultilabelTask):
        train = vectors(task.train_texts, "multilabel"), task.train_labels
        test = vectors(task.test_texts, "multilabel"), task.test_labels
        return _task_rows(model_name, task, multilabel_scores(*train, *test))
    if isinstance(task, ClassificationTask):
        train = vectors(task.train_texts, "classification"), task.train_labels
        test = vectors(task.test_texts, "classification"), task.test_labels
        return _task_rows(model_name, task, classification_scores(*train, *test, seed=seed, max_iter=max_iter))
    return _task_rows(model_name, task, clustering_scores(vectors(task.texts, "clustering"), task.labels, seed))


def embedder_run(
    model_name: str, task: RetrievalTask, encode: Encode, k: int, metrics: Sequence[str] = RETRIEVAL_METRICS
) -> Run:
    """The first `k` documents of each query by cosine, over the whole corpus."""
    return embedder_runs(model_name, task, encode, k, {}, metrics)[0]


def embedder_runs(
    model_name: str,
    task: RetrievalTask,
    encode: Encode,
    k: int,
    candidates: Run,
    metrics: Sequence[str] = RETRIEVAL_METRICS,
) -> tuple[Run, Run]:
    """The first `k` documents of each query over the whole corpus, and `candidates` with their cosines.

    Each text is encoded once for both.
    """
    deepest = max(metrics, key=lambda metric: parse_metric(metric)[1])
    if k < parse_metric(deepest)[1]:
        raise RecipeError(f"task '{task.name}', key 'k': {k} documents are too few for {deepest}.")
    _check_run(task, candidates)
    qids, docids = list(task.queries), list(task.corpus)
    queries = _encoded(model_name, task, encode, list(task.queries.values()), "query")
    documents = _encoded(model_name, task, encode, list(task.corpus.values()), "document")
    places = dict(zip(qids, queries, strict=True))
    chosen = np.stack([places[qid] for qid in candidates]) if candidates else queries[:0]
    reordered = score_candidates(candidates, chosen, dict(zip(docids, documents, strict=True)))
    return search_exact(qids, queries, docids, documents, k), reordered


def evaluate_run(
    model_name: str, task: RetrievalTask, run: Run, metrics: Sequence[str] = RETRIEVAL_METRICS
) -> list[dict]:
    """Rows of SCORES for any run over the task's corpus: BM25, a hybrid, an embedder.

    A query without results scores 0. Raises DataError for a query or document that the task has not, or a score that
    is not finite.
    """
    return _run_rows(model_name, task, task.name, run, metrics)


def evaluate_reranking(
    model_name: str, task: RetrievalTask, run: Run, metrics: Sequence[str] = RERANKING_METRICS
) -> list[dict]:
    """Rows of SCORES under the task name `<task>_rerank`, for runs over the same candidates.

    The candidates bound the scores: a positive that is not among them is missed by every model.
    """
    return _run_rows(model_name, task, task.name + RERANKING_SUFFIX, run, metrics)


def evaluate_candidates(model_name: str, task: RerankingTask, run: Run) -> list[dict]:
    """Rows of SCORES for an order of the candidates that a reranking task gives.

    `pooled_recall@30` is over all relevant candidates together, as MIRACL's Recall@30 in Ruri's Table 5 is taken.
    """
    rows = _run_rows(model_name, task, task.name, run, CANDIDATE_METRICS)
    relevant = {qid: sum(grade > 0 for grade in judged.values()) for qid, judged in task.qrels.items()}
    found = sum(row["score"] * relevant[row["query_id"]] for row in rows if row["metric"] == "recall@30")
    return [*rows, _row(model_name, task.name, "pooled_recall@30", "", found / sum(relevant.values()))]


def rerank_run(run: Run, task: RetrievalTask, score: Score) -> Run:
    """The candidates of `run` with new scores; `score` is called with the pairs of up to 64 queries at a time.

    Raises DataError where `score` does not return one finite number per pair.
    """
    _check_run(task, run)
    reranked: Run = {}
    for qids in _chunks(list(run), _QUERIES_PER_CALL):
        keys = [(qid, docid) for qid in qids for docid in run[qid]]
        scores = np.asarray(score([(task.queries[qid], task.corpus[docid]) for qid, docid in keys]))
        if scores.shape != (len(keys),) or not np.isfinite(scores).all():
            raise DataError(
                f"task '{task.name}', query '{qids[0]}' and on: {len(keys)} finite scores expected, "
                f"got {_summary(scores)}."
            )
        reranked |= {qid: {} for qid in qids}
        for (qid, docid), value in zip(keys, scores.tolist(), strict=True):
            reranked[qid][docid] = value
    return reranked


def rerank_run_by_vectors(model_name: str, run: Run, task: RetrievalTask, encode: Encode) -> Run:
    """The candidates of `run` with an embedder's cosines, so that it meets rerankers on the same candidates."""
    _check_run(task, run)
    qids = list(run)
    docids = sorted({docid for scores in run.values() for docid in scores})
    queries = _encoded(model_name, task, encode, [task.queries[qid] for qid in qids], "query")
    documents = _encoded(model_name, task, encode, [task.corpus[docid] for docid in docids], "document")
    return score_candidates(run, queries, dict(zip(docids, documents, strict=True)))


def summarize(
    rows: Iterable[Mapping], models: Sequence[str] | None = None, tasks: Sequence[str] | None = None
) -> pl.DataFrame:
    """One line per model: column `model`, then `<task>/<metric>` with the mean over queries (not percent).

    Models and tasks stand in the given order, else in that of their first row; so do the metrics of a task. A model
    or task that is not named is left out; a cell without scores is null. Raises DataError for a name without rows.
    """
    cells: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        cells.setdefault((row["model"], row["task"], row["metric"]), []).append(row["score"])
    lines = _in_order("model", models, (model for model, _, _ in cells))
    groups = _in_order("task", tasks, (task for _, task, _ in cells))
    columns = [(t, metric) for t in groups for metric in dict.fromkeys(m for _, task, m in cells if task == t)]
    table: dict[str, list] = {"model": lines}
    for task, metric in columns:
        found = [cells.get((model, task, metric)) for model in lines]
        # fsum: the same mean in whatever order the rows come.
        table[f"{task}/{metric}"] = [math.fsum(scores) / len(scores) if scores else None for scores in found]
    return pl.DataFrame(table, schema={name: pl.String if name == "model" else pl.Float64 for name in table})


def _in_order(kind: str, wanted: Sequence[str] | None, present: Iterable[str]) -> list[str]:
    names = list(dict.fromkeys(present))
    for name in wanted or ():
        if name not in names:
            raise DataError(f"{kind} '{name}' has no scores. There are scores for: {', '.join(names) or 'none'}.")
    return names if wanted is None else list(dict.fromkeys(wanted))


def _run_rows(model_name: str, task: RetrievalTask, name: str, run: Run, metrics: Sequence[str]) -> list[dict]:
    _check_run(task, run)
    return [
        _row(model_name, name, metric, qid, score)
        for metric, scores in retrieval_scores(task.qrels, run, metrics).items()
        for qid, score in scores.items()
    ]


def _check_run(task: RetrievalTask, run: Run) -> None:
    check_scores(f"task '{task.name}'", run)
    for qid, scores in run.items():
        if qid not in task.queries:
            raise DataError(f"task '{task.name}': the run has a query '{qid}' that the task has not.")
        for docid in scores:
            if docid not in task.corpus:
                raise DataError(
                    f"task '{task.name}', query '{qid}': document '{docid}' of the run is not in the corpus."
                )


def _encoded(model_name: str, task: Task, encode: Encode, texts: list[str], role: str) -> np.ndarray:
    """Vectors of shape (n, d), checked: a wrong shape or length gives a plausible, wrong score otherwise."""
    vectors = np.asarray(encode(texts, role))
    where = f"model '{model_name}', task '{task.name}', role '{role}'"
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise DataError(f"{where}: {len(texts)} finite vectors expected, got {_summary(vectors)}.")
    lengths = np.linalg.norm(vectors, axis=1)
    if np.abs(lengths - 1).max(initial=0) > 1e-2:
        number = int(np.abs(lengths - 1).argmax())
        raise DataError(f"{where}, text {number}: its vector has length {lengths[number]:.4g}. Normalise vectors to 1.")
    return vectors.astype(np.float32, copy=False)


def _summary(values: np.ndarray) -> str:
    return f"shape {values.shape} with {int((~np.isfinite(values)).sum())} values that are not finite"


def _task_rows(model_name: str, task: Task, scores: Mapping[str, float]) -> list[dict]:
    return [_row(model_name, task.name, metric, "", score) for metric, score in scores.items()]


def _row(model: str, task: str, metric: str, query_id: str, score: float) -> dict:
    return {"model": model, "task": task, "metric": metric, "query_id": query_id, "score": score}


def _chunks(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
