"""The best cell of each model and data set, chosen on development data alone.

A file of results has a row for each cell, in the form of the Japanese SimCSE report (arXiv 2310.19349): what was
trained on what, the settings that were searched, the figure of the development set, and the figures of the tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ruri_kedro.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

DEVIATION = "-std"  # behind the name of a figure: the column with its deviation over seeds
COUNT = "count"  # the column with the number of seeds


@dataclass(frozen=True)
class Columns:
    """What the columns of a file of results are. All others that have numbers are figures."""

    groups: tuple[str, ...] = ("model_name", "dataset_name")  # one cell is chosen for each of these
    settings: tuple[str, ...] = ("lr", "batch_size")  # what was searched
    choose: str = "best-dev"  # the figure of the development set, higher is better

    @property
    def keys(self) -> list[str]:
        """What tells two cells apart."""
        return [*self.groups, *self.settings]


@dataclass(frozen=True)
class Selection:
    """The chosen cells of a table of results."""

    best: "pd.DataFrame"  # a row for each group, with the columns of the results
    notes: tuple[str, ...]  # ties, rows and groups left out: a line each


def read_results(path: Path, columns: Columns) -> "pd.DataFrame":
    """The rows of a CSV file of results.

    Raises DataError for a file that cannot be read, a column that is missing or has text in place of numbers, and two
    rows of one cell.
    """
    import pandas as pd

    try:
        results = pd.read_csv(path, float_precision="round_trip")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}).") from error
    if missing := [name for name in (*columns.keys, columns.choose) if name not in results]:
        raise DataError(
            f"{path}: the column '{missing[0]}' is missing. It has: {', '.join(results)}. Name other columns with "
            "--group, --setting and --choose."
        )
    if not pd.api.types.is_numeric_dtype(results[columns.choose]):
        raise DataError(f"{path}: the column '{columns.choose}' has text where numbers are expected.")
    repeated = results.duplicated(columns.keys)
    if repeated.any():
        place = int(repeated.to_numpy().argmax())
        raise DataError(f"{path}, row {place + 2}: the cell {_named(results.iloc[place], columns.keys)} stands twice.")
    return results


def select_best(results: "pd.DataFrame", columns: Columns) -> Selection:
    """The row of each group with the highest figure of the development set.

    Of equal ones the row with the lower settings is taken, compared in the order of `columns.settings`, so that the
    order of the rows decides nothing. Rows without that figure are left out. The result is ordered by `avg` where
    there is such a column, else by the figure of the development set, highest first.
    """
    notes: list[str] = []
    missing = results[columns.choose].isna()
    for place in missing.to_numpy().nonzero()[0].tolist():
        named = _named(results.iloc[place], columns.keys)
        notes.append(f"{named}: {columns.choose} is not a number; the row is left out.")
    ordered = results[~missing].sort_values(
        [*columns.groups, columns.choose, *columns.settings],
        ascending=[*(True for _ in columns.groups), False, *(True for _ in columns.settings)],
        kind="stable",
    )
    best = ordered.drop_duplicates(list(columns.groups))
    notes += _ties(ordered, columns)
    notes += _without_any(results, best, columns.groups)
    order = "avg" if "avg" in best else columns.choose
    best = best.sort_values(order, ascending=False, kind="stable", na_position="last")
    return Selection(best.reset_index(drop=True), tuple(notes))


def figures(results: "pd.DataFrame", columns: Columns) -> list[str]:
    """The columns with figures of the tests and of the training, in the order of the table."""
    import pandas as pd

    known = {*columns.keys, columns.choose, COUNT}
    return [
        name
        for name in results
        if name not in known
        and not str(name).endswith(DEVIATION)
        and pd.api.types.is_numeric_dtype(results[name])
        and results[name].notna().any()
    ]


def _ties(ordered: "pd.DataFrame", columns: Columns) -> list[str]:
    """A line for each group in which more than one row has the highest figure; rows are ordered as they are chosen."""
    notes = []
    for _, rows in ordered.groupby(list(columns.groups), sort=True):
        highest = rows[columns.choose].iloc[0]
        equal = int((rows[columns.choose] == highest).sum())
        if equal > 1:
            chosen = _named(rows.iloc[0], columns.settings)
            notes.append(
                f"{_named(rows.iloc[0], columns.groups)}: {equal} cells have the same {columns.choose}, {highest:.4f}; "
                f"the one with the lower settings is taken: {chosen}."
            )
    return notes


def _without_any(results: "pd.DataFrame", best: "pd.DataFrame", groups: Sequence[str]) -> list[str]:
    """A line for each group of which no row is left."""
    there = set(best[list(groups)].itertuples(index=False, name=None))
    wanted = dict.fromkeys(results[list(groups)].itertuples(index=False, name=None))
    return [f"{', '.join(map(str, group))}: no cell is left to choose from." for group in wanted if group not in there]


def _named(row: "pd.Series", names: Sequence[str]) -> str:
    """The values of some columns, as a reader finds them in the file."""
    return ", ".join(f"{name}={row[name]}" for name in names)
