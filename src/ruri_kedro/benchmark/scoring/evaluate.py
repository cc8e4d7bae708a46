"""The engine: from a model as it is asked and a task to runs and to scores, as rows of SCORES.

There is a row per query where a metric has queries, and per text or pair where it is a mean over these (accuracy, the
parts of Spearman's correlation). A metric of a whole task (macro F1, V-measure, average precision, ...) is one row with
an empty query_id.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from ruri_kedro.benchmark.metrics import RETRIEVAL_METRICS, parse_metric, run_scores
from ruri_kedro.benchmark.runs import Run
from ruri_kedro.benchmark.scoring.models import Embedder, Encode, Model, check_run, checked_vectors
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.benchmark.tasks.types import Fitting, TaskType, Value, type_of
from ruri_kedro.errors import DataError, RecipeError

RUN = "run.trec.gz"  # what is found in a collection
RERANKED = "reranked.trec.gz"  # an order of candidates
Ordered = tuple[RetrievalTask, Run]  # a task with the queries of which candidates are ordered, and the candidates


@dataclass(frozen=True)
class Evaluation:
    """What a model finds, as RUN or RERANKED; nothing of a task without queries. And its scores."""

    runs: dict[str, Run]
    rows: list[dict]


def can_do(model: Model, kind: TaskType) -> bool:
    """Whether a model can do tasks of a type."""
    return kind.search is not None or model.encode is not None


def evaluate(
    model: Model,
    task: Any,
    depth: int,
    bm25: Callable[[], Run] | None = None,
    fitting: Fitting | None = None,
    metrics: Sequence[str] | None = None,
) -> Evaluation:
    """A model on a task of any type.

    The collection of a task is searched to `depth`, by a model that searches it; others order the candidates of `bm25`,
    a run for the task. `metrics` are those of runs, by default the type's own. Raises DataError where a model does not
    return one finite unit vector per text or one finite score per pair, RecipeError where a metric looks deeper than
    the search.
    """
    kind = type_of(task)
    if kind.search is None:
        return Evaluation({}, score_by_vectors(model, task, fitting or Fitting()))
    searched = kind.search.collection and model.searches(task)
    ordered = None if searched else candidates_of(task, bm25)
    runs = find_runs(model, task, depth, ordered, metrics)
    return Evaluation(runs, evaluate_runs(model.name, task, runs, metrics=metrics))


def evaluate_embedder(
    model_name: str,
    task: Any,
    encode: Encode,
    k: int = 100,
    seed: int = 0,
    max_iter: int = 1000,
    metrics: Sequence[str] | None = None,
) -> list[dict]:
    """Rows of SCORES of an embedding model on any task, as `evaluate`; `k` is the depth of its search."""
    return evaluate(Embedder(model_name, encode), task, k, fitting=Fitting(seed, max_iter), metrics=metrics).rows


def candidates_of(task: RetrievalTask, bm25: Callable[[], Run], queries: int | None = None) -> Ordered:
    """What models order of a task: its own candidates, or those of BM25 for its first `queries` (None: all)."""
    search = type_of(task).search
    part = search.part(task, queries)
    return part, search.candidates(part, bm25)


def find_runs(
    model: Model, task: RetrievalTask, depth: int, ordered: Ordered | None, metrics: Sequence[str] | None = None
) -> dict[str, Run]:
    """RUN of a collection that the model searches, and RERANKED of the candidates, unless `ordered` is None."""
    part, candidates = ordered or (task, {})
    if not (type_of(task).search.collection and model.searches(task)):
        return {RERANKED: model.order(part, candidates)}
    deepest = max(metrics or RETRIEVAL_METRICS, key=lambda metric: parse_metric(metric)[1])
    if depth < parse_metric(deepest)[1]:
        raise RecipeError(f"task '{task.name}', key 'k': {depth} documents are too few for {deepest}.")
    run, reranked = model.search(task, depth, candidates)
    return {RUN: run} if ordered is None else {RUN: run, RERANKED: reranked}


def evaluate_runs(
    model_name: str,
    task: RetrievalTask,
    runs: Mapping[str, Run],
    queries: int | None = None,
    metrics: Sequence[str] | None = None,
) -> list[dict]:
    """Rows of SCORES of RUN and RERANKED; the candidates of the first `queries` were ordered (None: of all)."""
    rows = []
    if RUN in runs:
        rows += evaluate_run(model_name, task, runs[RUN], metrics)
    if RERANKED in runs:
        rows += evaluate_reranking(model_name, type_of(task).search.part(task, queries), runs[RERANKED], metrics)
    return rows


def score_by_vectors(model: Model, task: Any, fitting: Fitting) -> list[dict]:
    """Rows of SCORES of a task without queries."""
    values = type_of(task).score(task, partial(checked_vectors, model, task), fitting)
    return _rows(model.name, task.name, values)


def evaluate_run(model_name: str, task: RetrievalTask, run: Run, metrics: Sequence[str] | None = None) -> list[dict]:
    """Rows of SCORES for any run over the task's corpus: BM25, a hybrid, an embedder.

    A query without results scores 0. Raises DataError for a query or document that the task has not, or a score that
    is not finite.
    """
    check_run(task, run)
    return _rows(model_name, task.name, run_scores(task.qrels, run, metrics or RETRIEVAL_METRICS))


def evaluate_reranking(
    model_name: str, task: RetrievalTask, run: Run, metrics: Sequence[str] | None = None
) -> list[dict]:
    """Rows of SCORES for an order of candidates: of a retrieval task under the task name `<task>_rerank`.

    The candidates bound the scores: a positive that is not among them is missed by every model.
    """
    check_run(task, run)
    search = type_of(task).search
    return _rows(model_name, task.name + search.suffix, search.score(task, run, metrics))


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


def _rows(model: str, task: str, values: Iterable[Value]) -> list[dict]:
    return [
        {"model": model, "task": task, "metric": metric, "query_id": query_id, "score": score}
        for metric, query_id, score in values
    ]
