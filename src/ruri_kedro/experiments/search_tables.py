"""The trials of a search as tables of its report."""

from collections.abc import Mapping, Sequence
from typing import Any

from ruri_kedro.experiments.cell_runs import BEST_STEP, DEVELOPMENT
from ruri_kedro.experiments.selection_report import Table
from ruri_kedro.experiments.sweep_settings import SweepSettings


def trial_tables(rows: Sequence[Mapping[str, Any]], settings: SweepSettings) -> list[Table]:
    """All trials, for each combination of the groups in the order in which they were drawn; none without a search."""
    if not settings.is_search:
        return []
    figures = (DEVELOPMENT, BEST_STEP)
    names = tuple(settings.search.ranges)
    lines = tuple(
        (
            " ".join(str(row["values"][name]) for name in settings.groups), str(row["trial"]),
            *(_text(row["values"][name]) for name in names),
            *(f"{row['figures'][name]:.2f}" if row["figures"] else "-" for name in figures),
            "failed" if row["reason"] else row["state"],
        )
        for row in rows
    )  # fmt: skip
    pruned = sum(not row["figures"] and not row["reason"] for row in rows)
    title = f"Trials ({len(rows)}; pruned: {pruned}; failed: {sum(bool(row['reason']) for row in rows)})"
    return [Table(title, (" ".join(settings.groups), "trial", *names, *figures, "state"), lines)]


def _text(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value)
