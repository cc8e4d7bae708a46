"""The report of a sweep: the best cells, how they differ, what failed, what it took."""

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ruri_kedro.benchmark.comparing.significance import holm, mean_and_deviation, randomisation_test
from ruri_kedro.experiments.cell_runs import AVERAGE
from ruri_kedro.experiments.heat_maps import heat_map_sheet
from ruri_kedro.experiments.search_tables import trial_tables
from ruri_kedro.experiments.selection import Columns, Selection, select_best
from ruri_kedro.experiments.selection_report import Table, heat_maps, markdown, selection_tables
from ruri_kedro.experiments.sweep_settings import SweepSettings
from ruri_kedro.experiments.sweep_tables import Row, cell_table, columns_of
from ruri_kedro.text.layout import duration, markdown_table

if TYPE_CHECKING:
    import pandas as pd

_CHART = "sweep_maps.svg"  # beside the report


def sweep_report(
    rows: Sequence[Row], chosen: Sequence[Row], by_items: Sequence[Row], settings: SweepSettings, recipe: str
) -> "tuple[pd.DataFrame, pd.DataFrame, str, str]":
    """The table of all cells, that of the best ones, the heat maps as SVG, and the report as Markdown.

    rows: of every cell and seed, and of the untrained models; chosen: of the best cells on all tests, if these differ;
    by_items: what `item_tests` gives of the best cells.
    """
    columns, trained = columns_of(settings), [row for row in rows if row["trained"]]
    results = cell_table(trained, settings)
    selection = select_best(results, columns)
    if chosen:  # the same cells, with more tests
        whole = cell_table([row for row in chosen if row["trained"]], settings)
        selection = Selection(select_best(whole, columns).best, selection.notes)
    best_rows = _of_best(chosen or trained, selection.best, columns)
    compared = [*_compared(best_rows, chosen or rows, columns), *_item_table(by_items)]
    tables = [*selection_tables(selection, columns), *compared, *trial_tables(rows, settings)]
    notes = (*selection.notes, *dict.fromkeys(_failed([*rows, *chosen])))
    title = f"Sweep of recipe {recipe}"
    maps = [] if settings.is_search else heat_maps(results, columns)  # of drawn values hardly two are equal
    text = markdown(title, tables, notes, columns, _cost([*rows, *chosen]), _CHART if maps else None)
    return results, selection.best, heat_map_sheet(maps), text


def _of_best(rows: Sequence[Row], best: "pd.DataFrame", columns: Columns) -> dict[str, list[Row]]:
    """The runs of the chosen cells that are done, by group, in the order of their seeds."""
    wanted = {
        tuple(map(str, row)): " ".join(map(str, row[: len(columns.groups)]))
        for row in best[columns.keys].itertuples(index=False, name=None)
    }
    found: dict[str, list[Row]] = {name: [] for name in wanted.values()}
    for row in rows:
        key = tuple(str(row["values"][name]) for name in columns.keys)
        if row["trained"] and not row["reason"] and key in wanted:
            found[wanted[key]].append(row)
    return found


def _compared(best: dict[str, list[Row]], rows: Sequence[Row], columns: Columns) -> list[Table]:
    """The chosen cells against their untrained models, and against each other, seed by seed."""
    untrained = {
        tuple(str(row["values"][name]) for name in columns.groups): row["figures"][AVERAGE]
        for row in rows
        if not row["trained"] and not row["reason"]
    }
    bases = set(untrained.values())
    pairs, differences = [], []
    for name, runs in best.items():
        if len(bases) == 1 and runs:  # one model that all cells began with
            pairs.append((name, "untrained"))
            differences.append([run["figures"][AVERAGE] - next(iter(bases)) for run in runs])
    for one, other in combinations(best, 2):
        figures = [{run["seed"]: run["figures"][AVERAGE] for run in best[name]} for name in (one, other)]
        seeds = sorted(figures[0].keys() & figures[1].keys())
        if seeds:
            pairs.append((one, other))
            differences.append([figures[0][seed] - figures[1][seed] for seed in seeds])
    if not pairs:
        return []
    adjusted = holm([float(randomisation_test(np.array(values))) for values in differences])
    lines = [
        (f"{one} - {other}", _signed(values), str(len(values)), f"{p:.3f}")
        for (one, other), values, p in zip(pairs, differences, adjusted, strict=True)
    ]
    least = 2 ** (1 - min(map(len, differences)))
    title = f"Differences of {AVERAGE} by seeds (randomisation test, Holm; with so few seeds p is {least:.3g} or more)"
    return [Table(title, ("", "difference", "seeds", "p"), tuple(lines))]


def _item_table(by_items: Sequence[Row]) -> list[Table]:
    """The chosen cells against each other on the queries, texts or pairs of each test."""
    lines = tuple(
        (f"{row['one']} - {row['other']}", f"{row['task']}/{row['metric']}", f"{100 * row['difference']:+.2f}",
         f"{row['items']:,}", f"{row['p']:.4f}")
        for row in by_items
    )  # fmt: skip
    title = "Differences by queries, texts or pairs of sentences (mean over seeds; randomisation test, Holm)"
    return [Table(title, ("", "test", "difference", "items", "p"), lines, left=2)] if lines else []


def _signed(values: Sequence[float]) -> str:
    mean, deviation = mean_and_deviation(values)
    return f"{mean:+.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


def _failed(rows: Sequence[Row]) -> list[str]:
    """A line for each run that failed."""
    return [f"{row['cell']}, seed {row['seed']}: failed. {row['reason']}" for row in rows if row["reason"]]


def _cost(rows: Sequence[Row]) -> str:
    """What the sweep took: every step counts once, however many cells have it."""
    steps: dict[str, float] = {}
    users: dict[str, int] = {}
    for row in rows:
        steps |= row["seconds"]
        for folder in row["seconds"]:
            users[folder] = users.get(folder, 0) + 1
    by_node: dict[str, list[float]] = {}
    for folder, seconds in steps.items():
        by_node.setdefault(folder.rpartition("-")[0], []).append(seconds)
    lines = [
        (node, len(times), duration(sum(times)))
        for node, times in sorted(by_node.items(), key=lambda pair: -sum(pair[1]))
        if sum(times) >= 1
    ]
    apart = sum(seconds * users[folder] for folder, seconds in steps.items())
    said = (
        f"{duration(sum(steps.values()))} in {len(steps)} steps; without sharing steps the same cells take "
        f"{duration(apart)}. What kills have cost is not counted."
    )
    return f"## Cost\n\n{said}\n\n{markdown_table(['step', 'times', 'time'], lines, left=1)}"
