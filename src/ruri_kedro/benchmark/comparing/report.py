"""The summary as a table and as a picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from ruri_kedro.benchmark.tasks.types import main_metrics
from ruri_kedro.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def main_columns(summary: pl.DataFrame) -> list[str]:
    """For each task of a summary its column `<task>/<main metric>`, in the order of the tasks."""
    known = main_metrics()
    tasks = dict.fromkeys(column.rpartition("/")[0] for column in summary.columns if column != "model")
    chosen = (
        next((f"{task}/{metric}" for metric in known if f"{task}/{metric}" in summary.columns), None) for task in tasks
    )
    return [column for column in chosen if column is not None]


def markdown_table(summary: pl.DataFrame, digits: int = 4) -> str:
    """A GitHub table of a summary, with a line break at the end; the best score of a column is bold, none is '-'."""
    best = {column: summary[column].max() for column in summary.columns if column != "model"}
    lines = [
        "| " + " | ".join(summary.columns) + " |",
        "| --- |" + " ---: |" * len(best),
    ]
    for row in summary.iter_rows(named=True):
        cells = [_cell(row[column], best[column], digits) for column in best]
        lines.append("| " + " | ".join([row["model"].replace("|", "\\|"), *cells]) + " |")
    return "\n".join(lines) + "\n"


def table_by_metric(summary: pl.DataFrame, digits: int = 4) -> str:
    """The table with a line per metric and a column per model, which fits a terminal; the best of a line is bold."""
    columns = [column for column in summary.columns if column != "model"]
    lines = ["| " + " | ".join(["metric", *summary["model"]]) + " |", "| --- |" + " ---: |" * len(summary)]
    for column in columns:
        best = summary[column].max()
        lines.append("| " + " | ".join([column, *(_cell(score, best, digits) for score in summary[column])]) + " |")
    return "\n".join(lines) + "\n"


def named(summary: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The summary with other names of some models."""
    return summary.with_columns(pl.col("model").replace(names))


def bar_plot(summary: pl.DataFrame, columns: Sequence[str] | None = None) -> "Figure":
    """Bars of a summary's columns (default: each task's main metric): a group per column, a colour per model.

    Raises DataError for a column that the summary does not have.
    """
    from matplotlib.figure import Figure

    columns = main_columns(summary) if columns is None else list(columns)
    for column in columns:
        if column not in summary.columns or column == "model":
            raise DataError(f"column '{column}' is not in the summary. It has: {', '.join(summary.columns[1:])}.")
    models = summary["model"].to_list()
    # 0.32 inch per bar leaves room for its value, written upright.
    figure = Figure(figsize=(max(6.0, 3.0 + 0.32 * len(columns) * (len(models) + 1)), 4.8), layout="constrained")
    axes = figure.add_subplot()
    width = min(0.3, 0.85 / max(1, len(models)))
    for number, (model, colour) in enumerate(zip(models, _colours(len(models)), strict=True)):
        places = [group + (number - (len(models) - 1) / 2) * width for group in range(len(columns))]
        scores = [summary[column][number] for column in columns]
        bars = axes.bar(places, [score or 0.0 for score in scores], width, color=colour, label=model)
        values = ["n/a" if score is None else f"{score:.3f}" for score in scores]
        axes.bar_label(bars, values, padding=2, rotation=90, fontsize=8)
    _finish(axes, columns)
    if models:
        figure.legend(loc="outside right upper", frameon=False)
    else:
        axes.set_title("nothing was tested")
    return figure


def _finish(axes, columns: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), [column.replace("/", "\n") for column in columns])
    axes.set_ylabel("score")
    axes.margins(y=0.18)  # the value labels stand above the bars
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="0.88")
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _colours(count: int) -> list:
    """`count` colours that differ: Matplotlib's ten, or as many steps of one colour map."""
    from matplotlib import colormaps

    if count <= 10:
        return list(colormaps["tab10"].colors[:count])
    return [colormaps["turbo"](0.05 + 0.9 * i / (count - 1)) for i in range(count)]


def _cell(score: float | None, best: float | None, digits: int) -> str:
    if score is None:
        return "-"
    text = f"{score:.{digits}f}"
    return f"**{text}**" if text == f"{best:.{digits}f}" else text
