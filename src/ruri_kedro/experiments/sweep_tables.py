"""The runs of a sweep as tables: a row for each cell, with means and deviations over its seeds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ruri_kedro.benchmark.comparing.significance import mean_and_deviation
from ruri_kedro.experiments.cell_runs import AVERAGE, BEST_STEP, DEVELOPMENT
from ruri_kedro.experiments.selection import COUNT, DEVIATION, Columns, select_best
from ruri_kedro.experiments.sweep_cells import SweepCell
from ruri_kedro.experiments.sweep_settings import SweepSettings

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


def columns_of(settings: SweepSettings) -> Columns:
    """The columns of the sweep's table."""
    searched = tuple(name for name in settings.grid if name not in settings.groups)
    return Columns(settings.groups, (*searched, *settings.search.ranges), DEVELOPMENT)


def cell_table(rows: Sequence[Row], settings: SweepSettings) -> "pd.DataFrame":
    """A row for each cell that has figures, in the form of the published files: in percent, with deviations."""
    import pandas as pd

    by_cell: dict[str, dict[int, Row]] = {}
    for row in rows:
        if row["figures"]:
            by_cell.setdefault(row["cell"], {})[row["seed"]] = row  # a search may draw the same cell twice
    return pd.DataFrame([_cell_row(list(runs.values()), settings) for runs in by_cell.values()])


def chosen_cells(rows: Sequence[Row], settings: SweepSettings, cells: Sequence[SweepCell]) -> list[int]:
    """The numbers of the cells that are best on the development data, one for each combination of the groups."""
    columns = columns_of(settings)
    best = select_best(cell_table(rows, settings), columns).best
    wanted = {tuple(map(str, row)) for row in best[columns.keys].itertuples(index=False, name=None)}
    return [
        number for number, cell in enumerate(cells) if tuple(str(cell.values[name]) for name in columns.keys) in wanted
    ]


def _cell_row(runs: Sequence[Row], settings: SweepSettings) -> dict[str, Any]:
    names = list(dict.fromkeys(name for run in runs for name in run["figures"]))
    order = [name for name in (BEST_STEP, DEVELOPMENT) if name in names]
    order += sorted((name for name in names if name not in order), key=lambda name: name == AVERAGE)
    made = {name: runs[0]["values"][name] for name in (*settings.groups, *columns_of(settings).settings)}
    for name in order:
        mean, deviation = mean_and_deviation([run["figures"][name] for run in runs])
        made[name] = mean
        made[name + DEVIATION] = deviation
    return made | {COUNT: len(runs)}
