"""The summary as a table and as a picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from ruri_kedro.benchmark.comparing.comparison import main_metrics
from ruri_kedro.text.layout import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def main_columns(summary: pl.DataFrame) -> list[str]:
    """For each task of a summary its column `<task>/<main metric>`, in the order of the tasks."""
    measures = {tuple(column.rsplit("/", 1)): None for column in summary.columns if column != "model"}
    return ["/".join(measure) for measure in main_metrics(measures)]


def table_by_metric(summary: pl.DataFrame) -> str:
    """The table with a line per metric and a column per model, which fits a terminal; the best of a line is bold."""
    columns = [column for column in summary.columns if column != "model"]
    rows = [(column, *(_cell(score, summary[column].max()) for score in summary[column])) for column in columns]
    return markdown_table(("metric", *summary["model"]), rows, left=1) + "\n"


def named(summary: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The summary with other names of some models."""
    return summary.with_columns(pl.col("model").replace(names))


def bar_plot(summary: pl.DataFrame) -> "Figure":
    """Bars of each task's main metric: a group per task, a colour per model."""
    from matplotlib.figure import Figure

    columns = main_columns(summary)
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


def _cell(score: float | None, best: float | None) -> str:
    if score is None:
        return "-"
    return f"**{score:.4f}**" if f"{score:.4f}" == f"{best:.4f}" else f"{score:.4f}"
