"""Models side by side on the same queries: means over seeds, and paired tests per task.

A test is made within one task and one metric, on the scores of its queries; tasks are never averaged, since the mean
of an nDCG and a Spearman correlation is neither.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np

from ruri_kedro.benchmark.comparing.significance import (
    RESAMPLES,
    ROUNDING,
    bootstrap_interval,
    effect_size,
    holm,
    mean_and_deviation,
    randomisation_test,
    win_tie_loss,
)
from ruri_kedro.benchmark.tasks.types import main_metrics as main_metrics_of_types
from ruri_kedro.benchmark.tasks.types import tested_metrics
from ruri_kedro.errors import DataError, RecipeError

ALPHA = 0.05
Measure = tuple[str, str]  # (task, metric)
Scores = dict[Measure, dict[str, float]]  # measure -> query_id -> score; '' for a metric of a whole task


@dataclass(frozen=True)
class SeedSummary:
    """A model's score over its seeds."""

    model: str
    task: str
    metric: str
    queries: int  # 0 for a metric of a whole task
    mean: float
    deviation: float | None  # of the seeds' means (n - 1 in the denominator); None for one seed
    seeds: int


@dataclass(frozen=True)
class PairedResult:
    """A model against the baseline on one task; differences are model minus baseline."""

    model: str
    baseline: str
    task: str
    metric: str
    queries: int
    baseline_mean: float
    model_mean: float
    difference: float
    interval: tuple[float, float] | None  # 95%
    p: float
    p_holm: float
    effect_size: float | None
    wins: int
    ties: int
    losses: int

    @property
    def found(self) -> bool:
        """Whether the difference is significant at ALPHA."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class Comparison:
    """What `compare` found, and the scores per query that it was found on (each the mean over its model's seeds)."""

    baseline: str
    summaries: tuple[SeedSummary, ...]
    results: tuple[PairedResult, ...]
    scores: Mapping[str, Scores]
    resamples: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values, without the scores per query."""
        return {
            "baseline": self.baseline,
            "alpha": ALPHA,
            "resamples": self.resamples,
            "seed": self.seed,
            "models": [asdict(summary) for summary in self.summaries],
            "comparisons": [asdict(result) for result in self.results],
        }


def scores_by_query(rows: Iterable[Mapping]) -> Scores:
    """Rows of SCORES of one model, by task and metric. Raises DataError for a query that has two scores."""
    scores: Scores = {}
    for row in rows:
        queries = scores.setdefault((row["task"], row["metric"]), {})
        if row["query_id"] in queries:
            raise DataError(
                f"task '{row['task']}', {row['metric']}, query '{row['query_id']}': two scores in one table. "
                "Give the tables of several seeds one by one."
            )
        queries[row["query_id"]] = row["score"]
    return scores


def score_rows(model: str, scores: Scores) -> list[dict]:
    """Scores of a model as rows of SCORES."""
    return [
        {"model": model, "task": task, "metric": metric, "query_id": query, "score": score}
        for (task, metric), queries in scores.items()
        for query, score in queries.items()
    ]


def main_metrics(scores: Mapping[Measure, Any]) -> list[Measure]:
    """Each task with the metric that stands for it (see `tasks.types.main_metrics`), in the order of the tasks."""
    known = main_metrics_of_types()
    tasks = dict.fromkeys(task for task, _ in scores)
    chosen = (next(((task, name) for name in known if (task, name) in scores), None) for task in tasks)
    return [measure for measure in chosen if measure is not None]


def tested_measures(scores: Mapping[Measure, Any]) -> list[Measure]:
    """The main metrics; behind one of a whole task such as macro F1 that which has scores by text and can be tested."""
    beside = tested_metrics()
    found = [(measure, (measure[0], beside.get(measure[1], ""))) for measure in main_metrics(scores)]
    return [measure for pair in found for measure in pair if measure in scores]


def has_queries(scores: Mapping[str, float] | None) -> bool:
    """Whether a measure has scores by query, text or pair, and not only one of the whole task."""
    return bool(scores) and "" not in scores


def compare(
    models: Mapping[str, Sequence[Scores]],
    baseline: str,
    metrics: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Every model against the baseline, on every task that both have scores per query for.

    `models` gives the scores of each model, one entry per seed; a query's score is its mean over the seeds. `metrics`
    are the metrics to test, by default those of `tested_measures`. Holm's correction is over all tests of the
    comparison: name the models that are meant to be compared, and no others. A metric of a whole task has a mean and no
    test; nor has one of which either model has the mean only.
    Raises RecipeError for a baseline that is not among the models or a metric that no table has, DataError where two
    tables of a task have other queries.
    """
    if baseline not in models:
        raise RecipeError(f"baseline '{baseline}': not among the models. There are: {', '.join(models) or 'none'}.")
    # Of each model the measures that are looked at, and their means over its seeds.
    known = dict.fromkeys(metric for seeds in models.values() for one in seeds for _, metric in one)
    for metric in metrics or ():
        if metric not in known:
            raise RecipeError(f"metric '{metric}': no table has it. There are: {', '.join(known) or 'none'}.")
    chosen = {name: [_choose(one, metrics) for one in seeds] for name, seeds in models.items()}
    mean_scores = {name: mean_over_seeds(name, seeds) for name, seeds in chosen.items()}
    # A test for each measure that has queries, and Holm's correction over all.
    drafts = [
        _paired(name, baseline, measure, mean_scores, resamples, seed)
        for name in models
        for measure, queries in mean_scores[name].items()
        if name != baseline and has_queries(queries) and has_queries(mean_scores[baseline].get(measure))
    ]
    adjusted = holm([draft["p"] for draft in drafts])
    results = tuple(PairedResult(**draft, p_holm=p) for draft, p in zip(drafts, adjusted, strict=True))
    summaries = tuple(
        _summary(name, measure, [one[measure] for one in seeds])
        for name, seeds in chosen.items()
        for measure in mean_scores[name]
    )
    return Comparison(baseline, summaries, results, mean_scores, resamples, seed)


def changed_queries(comparison: Comparison, result: PairedResult, count: int) -> tuple[list[str], list[str]]:
    """The up to `count` queries that the model won most, and those it lost most, the largest difference first."""
    measure = result.task, result.metric
    old, new = comparison.scores[result.baseline][measure], comparison.scores[result.model][measure]
    gains = {qid: new[qid] - old[qid] for qid in old}
    won = sorted((qid for qid in gains if gains[qid] > ROUNDING), key=lambda qid: (-gains[qid], qid))
    lost = sorted((qid for qid in gains if gains[qid] < -ROUNDING), key=lambda qid: (gains[qid], qid))
    return won[:count], lost[:count]


def _choose(scores: Scores, metrics: Sequence[str] | None) -> Scores:
    if metrics is None:
        return {measure: scores[measure] for measure in tested_measures(scores)}
    return {measure: queries for measure, queries in scores.items() if measure[1] in metrics}


def mean_over_seeds(model: str, seeds: Sequence[Scores]) -> Scores:
    """The mean over seeds of each query's score; DataError where two seeds have other measures or queries."""
    first = seeds[0]
    for number, other in enumerate(seeds[1:], start=2):
        if other.keys() != first.keys():
            odd = sorted(other.keys() ^ first.keys())[0]
            raise DataError(
                f"model '{model}': tables 1 and {number} do not both have {odd[1]} of task '{odd[0]}'. "
                "Tables of several seeds hold the same tasks."
            )
        for measure in first:
            _check_same_queries(measure, f"'{model}'", first[measure], f"its table {number}", other[measure])
    return {measure: {qid: fmean(one[measure][qid] for one in seeds) for qid in first[measure]} for measure in first}


def _paired(
    model: str, baseline: str, measure: Measure, scores: Mapping[str, Scores], resamples: int, seed: int
) -> dict[str, Any]:
    """The fields of a PairedResult but for the corrected p."""
    old, new = scores[baseline][measure], scores[model][measure]
    _check_same_queries(measure, f"'{baseline}'", old, f"'{model}'", new)
    differences = np.array([new[qid] - old[qid] for qid in old])
    wins, ties, losses = win_tie_loss(differences)
    return {
        "model": model,
        "baseline": baseline,
        "task": measure[0],
        "metric": measure[1],
        "queries": len(old),
        "baseline_mean": fmean(old.values()),
        "model_mean": fmean(new.values()),
        "difference": float(differences.mean()),
        "interval": bootstrap_interval(differences, 1 - ALPHA, resamples, seed),
        "p": float(randomisation_test(differences, resamples, seed)),
        "effect_size": effect_size(differences),
        "wins": wins,
        "ties": ties,
        "losses": losses,
    }


def _summary(model: str, measure: Measure, seeds: Sequence[Mapping[str, float]]) -> SeedSummary:
    mean, deviation = mean_and_deviation([fmean(queries.values()) for queries in seeds])
    queries = sum(qid != "" for qid in seeds[0])
    return SeedSummary(model, *measure, queries, mean, deviation, len(seeds))


def _check_same_queries(measure: Measure, one: str, first: Mapping, two: str, second: Mapping) -> None:
    odd = first.keys() ^ second.keys()
    if odd:
        raise DataError(
            f"task '{measure[0]}', {measure[1]}: {one} has {len(first)} queries and {two} has {len(second)}, "
            f"{len(odd)} of them not shared (for example '{min(odd)}'). Score both on the same test set."
        )
