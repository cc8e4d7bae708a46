"""The figures of one model, each with its 95% interval."""

from statistics import fmean
from typing import NamedTuple

import numpy as np

from ruri_kedro.benchmark.comparing.comparison import ALPHA, Scores, has_queries, tested_measures
from ruri_kedro.benchmark.comparing.significance import bootstrap_interval

LOW, HIGH = "_ci95_low", "_ci95_high"  # behind the name of a metric: the bounds of its interval


class Figure(NamedTuple):
    """The mean of a metric over the items of a task: its queries, texts or pairs."""

    task: str
    metric: str
    mean: float
    interval: tuple[float, float] | None  # None: of a metric of the whole task, or of a single item
    items: int  # 0 for a metric of the whole task


def figures(scores: Scores) -> list[Figure]:
    """The main metrics of all tasks, each with the bootstrap interval (BCa) over its items.

    Behind one of a whole task stands that which has scores by text (`tested_measures`).
    """
    found = []
    for task, metric in tested_measures(scores):
        values = list(scores[task, metric].values())
        items = len(values) if has_queries(scores[task, metric]) else 0
        interval = bootstrap_interval(np.array(values), 1 - ALPHA) if items else None
        found.append(Figure(task, metric, fmean(values), interval, items))
    return found


def bounds(scores: Scores) -> dict[str, float]:
    """`<task>/<metric>_ci95_low` and `..._ci95_high` of the figures that have an interval."""
    return {
        f"{figure.task}/{figure.metric}{ending}": bound
        for figure in figures(scores)
        if figure.interval
        for ending, bound in zip((LOW, HIGH), figure.interval, strict=True)
    }
