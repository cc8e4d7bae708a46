"""The champions of a registered model so far: a table, a curve over their versions, and the same as a run of MLflow."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruri_kedro.benchmark.comparing.comparison import main_metrics
from ruri_kedro.benchmark.comparing.intervals import HIGH, LOW
from ruri_kedro.registry.promotion.decision import PROMOTED
from ruri_kedro.registry.runs.tracking import metric_name, mlflow_client
from ruri_kedro.registry.versions.models import registered
from ruri_kedro.registry.versions.registered import (
    CHAMPION,
    DECISION,
    ROLLED_BACK,
    logged_evidence,
    number_of,
    numbers,
    version_of,
)
from ruri_kedro.text.layout import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

CURVE_OF = "champions_of"  # tag of the run that has the curve: name of the registered model
_NONE = "No version has been promoted yet.\n"


@dataclass(frozen=True)
class Score:
    """A champion's main metric of a task."""

    metric: str
    value: float
    interval: tuple[float, float] | None  # 95%; None: the metric has none, or the version is from before 0.2
    test: str  # digest of the texts and judgments that it was tested on


@dataclass(frozen=True)
class Champion:
    """A version that was promoted."""

    version: int
    time: str  # of the promotion, UTC
    standing: str  # champion, replaced or rolled back
    scores: Mapping[str, Score]  # by task


def champions(name: str) -> list[Champion]:
    """The versions of a registered model that were promoted, the oldest first, also those that were rolled back."""
    current = number_of(name, CHAMPION)
    found = []
    for number in numbers(name):
        tags = version_of(name, number).tags
        if tags.get(DECISION) == PROMOTED or ROLLED_BACK in tags:
            standing = "champion" if number == current else "rolled back" if ROLLED_BACK in tags else "replaced"
            found.append(Champion(number, tags.get("promotion.time", "-"), standing, _scores(name, number)))
    return found


def gated_tasks(found: Sequence[Champion], tasks: Sequence[str] | None) -> list[str]:
    """The tasks that the gates look at, those of `promotion.tasks` or of the newest champion, as far as it has them."""
    scores = found[-1].scores if found else {}
    return [task for task in scores if tasks is None or task in tasks]


def champions_text(name: str, found: Sequence[Champion], tasks: Sequence[str], chart: str | None = None) -> str:
    """A Markdown page: a line for each champion with the main metrics of `tasks` and their intervals.

    chart: file beside the page with the curve.
    """
    title = f"# Champions of {name}"
    if not found:
        return f"{title}\n\n{_NONE}"
    header = ("version", "promoted", "standing", *(f"{task} {found[-1].scores[task].metric}" for task in tasks))
    rows = [(each.version, each.time, each.standing, *(_cell(each, task, found[-1]) for task in tasks))
            for each in found]  # fmt: skip
    notes = ["In brackets the 95% interval; a metric of a whole task has none."]
    if any("†" in cell for row in rows for cell in row[3:]):
        notes.append("† tested on other data than the newest champion, which cannot be compared.")
    picture = [f"![The main metrics by version]({chart})"] if chart else []
    return "\n\n".join([title, *picture, markdown_table(header, rows, left=3), " ".join(notes)]) + "\n"


def champions_plot(found: Sequence[Champion], tasks: Sequence[str]) -> "Figure":
    """A curve for each task: its main metric over the versions, intervals as whiskers.

    A champion that was tested on other data is not joined to the newest one.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for number, task in enumerate(tasks):
        newest = found[-1].scores[task]
        same = [each for each in found if task in each.scores and _is_like(each.scores[task], newest)]
        scores = [each.scores[task] for each in same]
        below = [max(0.0, score.value - _bounds(score)[0]) for score in scores]
        above = [max(0.0, _bounds(score)[1] - score.value) for score in scores]
        places = [each.version + 0.04 * (number - (len(tasks) - 1) / 2) for each in same]
        values = [score.value for score in scores]
        axes.errorbar(places, values, yerr=(below, above), marker="o", capsize=3, label=f"{task} {newest.metric}")
    axes.set_xticks([each.version for each in found])
    axes.set_xlabel("version")
    axes.grid(axis="y", color="0.88")
    axes.spines[["top", "right"]].set_visible(False)
    if tasks:
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def log_champions(name: str) -> None:
    """Log what is missing of the curve to the run that has it: metrics `<task>/<metric>` whose steps are versions.

    The run lies in the experiment that registered the newest champion, and is found by its tag. A login that may
    not write there costs a warning.
    """
    from mlflow.entities import Metric
    from mlflow.exceptions import MlflowException

    if not (found := champions(name)):
        return
    client = mlflow_client()
    try:
        run_id = _curve_run(name, found[-1].version)
        for each in found:
            values = {f"{task}/{score.metric}{ending}": value for task, score in each.scores.items()
                      for ending, value in _with_bounds(score).items()}  # fmt: skip
            metrics = [Metric(metric_name(key), value, 0, each.version) for key, value in values.items()]
            known = {m.key for m in metrics for old in client.get_metric_history(run_id, m.key) if old.step == m.step}
            client.log_batch(run_id, metrics=[metric for metric in metrics if metric.key not in known])
    except MlflowException as error:
        logger.warning("'%s': the curve of its champions cannot be logged: %s", name, error)


def _curve_run(name: str, version: int) -> str:
    """Id of the run that has the curve, which is made where there is none."""
    client = mlflow_client()
    experiment = client.get_run(version_of(name, version).run_id).info.experiment_id
    there = client.search_runs([experiment], f"tags.`{CURVE_OF}` = '{name}'", max_results=1)
    if there:
        return there[0].info.run_id
    note = f"The main metrics of the champions of {name}: the step is the number of the version."
    tags = {CURVE_OF: name, "mlflow.note.content": note}
    run_id = client.create_run(experiment, tags=tags, run_name=f"{name}: champions").info.run_id
    client.set_terminated(run_id)
    return run_id


def _scores(name: str, number: int) -> dict[str, Score]:
    """The main metrics of a version, with the intervals that its logged model has."""
    logged, given = registered(name, number).metrics, logged_evidence(name, number)
    found = {}
    for task, metric in main_metrics(given.scores or {}):
        value, low, high = (logged.get(metric_name(f"{task}/{metric}{ending}")) for ending in ("", LOW, HIGH))
        if value is not None:
            interval = None if low is None or high is None else (low, high)
            found[task] = Score(metric, value, interval, (given.tests or {}).get(task, {}).get("digest", ""))
    return found


def _is_like(one: Score, other: Score) -> bool:
    return (one.metric, one.test) == (other.metric, other.test)


def _bounds(score: Score) -> tuple[float, float]:
    return score.interval or (score.value, score.value)


def _with_bounds(score: Score) -> dict[str, float]:
    """The value and its bounds, by what stands behind the metric's name."""
    return {"": score.value, **(dict(zip((LOW, HIGH), score.interval, strict=True)) if score.interval else {})}


def _cell(champion: Champion, task: str, newest: Champion) -> str:
    score = champion.scores.get(task)
    if score is None:
        return "-"
    shown = f"{score.value:.4f}" + (" ({:.4f} to {:.4f})".format(*score.interval) if score.interval else "")
    return shown if _is_like(score, newest.scores[task]) else f"{shown} †"
