"""The spaces of a search: for each combination of the grid's values the cells that can be drawn from the ranges."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from ruri_kedro.errors import RecipeError
from ruri_kedro.experiments.search_settings import Range
from ruri_kedro.experiments.sweep_cells import SweepCell, Variants, checked_cells, combinations_of, title_of
from ruri_kedro.experiments.sweep_settings import SweepSettings


@dataclass(frozen=True)
class SearchSpace:
    """One combination of the grid's values, with whatever is drawn for the names in `sweep.search.ranges`."""

    labels: Mapping[str, Any]  # by name in the grid: the value, or its label
    given: Mapping[str, Any]  # the parameters that make these
    settings: SweepSettings
    variants: Variants
    known: frozenset[str]

    @property
    def title(self) -> str:
        """Its values in words, as its study is called."""
        return title_of(self.labels)

    def cells(self, drawn: Iterable[Mapping[str, Any]]) -> list[SweepCell]:
        """The cells with these values of the ranges; RecipeError where their parameters are at fault."""
        rows = [({**self.labels, **values}, {**self.given, **values}) for values in drawn]
        return checked_cells(rows, self.settings, self.variants, self.known)

    def trial(self, drawn: Mapping[str, Any]) -> SweepCell:
        """The cell of a trial: trained and measured on the development data, and on no test."""
        return replace(self.cells([drawn])[0], is_trial=True)

    def middle(self) -> SweepCell:
        """The cell in the middle of all ranges."""
        return self.cells([{name: found.middle for name, found in self.settings.search.ranges.items()}])[0]


def parse_spaces(settings: SweepSettings, variants: Variants, known: Iterable[str] = ()) -> list[SearchSpace]:
    """The spaces in the order of the grid.

    known: as of parse_grid. Raises RecipeError where the parameters at the ends of the ranges are at fault, and where
    Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise RecipeError("sweep.search: it needs Optuna: pip install 'ruri-kedro[sweeps]'.")
    names = frozenset(known)
    spaces = [SearchSpace(labels, given, settings, variants, names) for labels, given in combinations_of(settings)]
    for space in spaces:
        for cell in space.cells(_ends(settings.search.ranges)):
            _check_pruner(settings, cell)
    return spaces


def _ends(ranges: Mapping[str, Range]) -> list[dict[str, Any]]:
    """Values of all ranges, such that each end and each choice is among them."""
    count = max(len(found.bounds) for found in ranges.values())
    return [
        {name: found.bounds[min(number, len(found.bounds) - 1)] for name, found in ranges.items()}
        for number in range(count)
    ]


def _check_pruner(settings: SweepSettings, cell: SweepCell) -> None:
    """Raises RecipeError where trials are to be pruned and a training is done by several processes."""
    if settings.search.pruner.name == "none":
        return
    from ruri_kedro.training.processes import wanted

    run = cell.params["run"]
    if wanted(run["device"], run["devices"]):
        raise RecipeError(
            f"sweep.search.pruner: {settings.search.pruner.name}, but a training of several processes (run.devices: "
            f"{run['devices']}) is not ended on the way. Set run.devices to 1, or the pruner's name to none."
        )
