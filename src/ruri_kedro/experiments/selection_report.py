"""The chosen cells of a sweep in the layout of the Japanese SimCSE report (arXiv 2310.19349), as Markdown.

A table for each data set, a line for each model, with its best settings, the steps until its best checkpoint, and the
figures of development set and tests; a table of models by data sets; heat maps of the two settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruri_kedro.experiments.heat_maps import HeatMap
from ruri_kedro.experiments.selection import COUNT, DEVIATION, Columns, Selection, figures
from ruri_kedro.text.layout import markdown_table

if TYPE_CHECKING:
    import pandas as pd

_MEAN = "avg"
_SHADES = "The darker, the higher; each map has a scale of its own."


@dataclass(frozen=True)
class Table:
    """Cells of text under a title; columns from number `left` on are numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1

    def markdown(self) -> str:
        """As a section of a Markdown page."""
        return f"## {self.title}\n\n{markdown_table(self.header, self.rows, left=self.left)}"


def selection_tables(selection: Selection, columns: Columns) -> list[Table]:
    """The tables of the chosen cells: all data sets together, then each data set by itself."""
    best, model, *parts = selection.best, *columns.groups
    tables = []
    if parts and _MEAN in best and best[parts[0]].nunique() > 1:
        tables.append(_by_data_set(best, model, parts[0]))
    shown = figures(best, columns)
    header = (model, *columns.settings, columns.choose, *shown)
    groups = best.groupby(parts, sort=False) if parts else [((), best)]
    for names, rows in groups:
        title = ", ".join(map(str, names)) or "Best cells"
        body = tuple(_line(row, model, columns, shown) for _, row in rows.iterrows())
        tables.append(Table(title, header, body))
    return tables


def heat_maps(results: "pd.DataFrame", columns: Columns) -> list[HeatMap]:
    """A map for each group of the results; none where other than two settings were searched."""
    if len(columns.settings) != 2:
        return []
    down, across = columns.settings
    maps = []
    for names, rows in results.groupby(list(columns.groups), sort=False):
        table = rows.pivot_table(index=down, columns=across, values=columns.choose)
        if table.size > 1:
            values = tuple(tuple(None if v != v else float(v) for v in row) for row in table.to_numpy())
            maps.append(HeatMap(", ".join(map(str, names)), _texts(table.index), _texts(table.columns), values))
    return maps


def markdown(
    title: str,
    tables: Sequence[Table],
    notes: Sequence[str],
    columns: Columns,
    extra: str = "",
    chart: str | None = None,
) -> str:
    """The report as a Markdown page; `extra` are sections behind the tables, `chart` a file of heat maps beside it."""
    parts = [f"# {title}", _said(columns), *(table.markdown() for table in tables), extra]
    if chart:
        down, across = columns.settings
        parts.append(
            f"## {columns.choose} by {down} (down) and {across} (across)\n\n{_SHADES}\n\n![Heat maps]({chart})"
        )
    if notes:
        parts.append("\n".join(["## Notes\n", *(f"- {note}" for note in notes)]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _said(columns: Columns) -> str:
    return (
        f"Of each {' and '.join(columns.groups)} the cell with the highest {columns.choose}, which no test had a part "
        "in; of equal ones the one with the lower settings. ± is the standard deviation over seeds."
    )


def _by_data_set(best: "pd.DataFrame", model: str, part: str) -> Table:
    """The mean of the tests by model and data set."""
    names = list(dict.fromkeys(best[part]))
    means = {(row[model], row[part]): row[_MEAN] for _, row in best.iterrows()}
    rows = tuple(
        (str(name), *(_number(means.get((name, other))) for other in names)) for name in dict.fromkeys(best[model])
    )
    return Table(f"{_MEAN} by {part}", (model, *map(str, names)), rows)


def _line(row: "pd.Series", model: str, columns: Columns, shown: Sequence[str]) -> tuple[str, ...]:
    settings = (_setting(row[name]) for name in columns.settings)
    numbers = (_with_deviation(row, name) for name in (columns.choose, *shown))
    return (str(row[model]), *settings, *numbers)


def _with_deviation(row: "pd.Series", name: str) -> str:
    deviation = row.get(name + DEVIATION)
    known = deviation is not None and deviation == deviation and row.get(COUNT, 2) > 1
    return _number(row[name]) + (f" ± {_number(deviation)}" if known else "")


def _number(value: float | None) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:,.1f}"


def _setting(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(map(_setting, values))
