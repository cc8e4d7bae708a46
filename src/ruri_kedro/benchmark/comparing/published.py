"""A paper's table with lines for the models of a recipe: published figures, then those measured here."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ruri_kedro.benchmark.settings import PublishedTable
from ruri_kedro.recipe.parse import parse
from ruri_kedro.text.layout import markdown_table

_Figures = Sequence[float | None]


def published_table(summary: pl.DataFrame, settings: Mapping[str, Any]) -> str:
    """The table that the parameters `published` describe, as Markdown with a heading; '' where they describe none.

    `summary` has a line per model, as `evaluate.summarize` makes it. A figure that was not measured is '-', and so is
    the mean of figures one of which is.
    """
    table = parse(PublishedTable, settings, "published")
    if not table.models:
        return ""
    columns = [column for group in table.columns.values() for column in group]
    measured = {
        f"{row['model']} (measured here)": [row.get(column) for column in columns]
        for row in summary.iter_rows(named=True)
    }
    lines = {**{f"{name} (published)": figures for name, figures in table.models.items()}, **measured}
    header = ["Model", *_header(table)]
    rows = [[name, *map(_cell, [*figures, *_means(table, figures)])] for name, figures in lines.items()]
    return f"## {table.title}\n\n{markdown_table(header, rows, left=1)}\n"


def _header(table: PublishedTable) -> list[str]:
    names = [f"{group} {column.rpartition('/')[2]}" for group, columns in table.columns.items() for column in columns]
    count = len(next(iter(table.columns.values()))) if table.average else 0
    return [*names, *(f"average {number}" for number in range(1, count + 1))]


def _means(table: PublishedTable, figures: _Figures) -> list[float | None]:
    """The mean over the groups of their first figures, of their second ones, and so on."""
    if not table.average:
        return []
    count = len(next(iter(table.columns.values())))
    return [_mean(figures[number::count]) for number in range(count)]


def _mean(figures: _Figures) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if len(known) == len(figures) else None


def _cell(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"
