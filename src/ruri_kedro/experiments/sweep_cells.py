"""The cells of a sweep: each is the recipe as other --params would have it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ruri_kedro.benchmark.development import development_fault
from ruri_kedro.errors import RecipeError
from ruri_kedro.experiments.cells import scored_as
from ruri_kedro.experiments.sweep_settings import SweepSettings
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.blocks import faults_in
from ruri_kedro.recipe.stages import BASE, STAGES, stage_of_model, takes_part

Variants = Callable[[Mapping[str, Any]], Params]  # --params, nested -> the parameters of a run with them
_SEARCH_FOR_ALL = "search_tasks"  # BM25 on the tests, whose candidates others order


@dataclass(frozen=True)
class SweepCell:
    """One combination of the grid's values."""

    values: Mapping[str, Any]  # by name in the grid: the value, or its label
    params: Params  # of a run with them, but for the seed of its training
    model: str  # the data set that is scored
    scored_model: str  # the sweep's model, whose place in the evaluation it takes
    skipped: tuple[str, ...] = ()  # tests that it is not scored on
    is_chosen: bool = False  # scored once more, on all tests
    is_trial: bool = False  # trained and measured on the development data, and not scored

    @property
    def title(self) -> str:
        """Its values in words, as messages and runs call the cell."""
        values = title_of(self.values)
        return values if self.model == self.scored_model else f"untrained: {values}"

    def group(self, names: Sequence[str]) -> str:
        """Its values of some names, as reports call the chosen cell."""
        return " ".join(str(self.values[name]) for name in names)

    @property
    def wanted(self) -> str:
        """The table of its scores; of a trial what its training gives."""
        return stage_of_model(self.model).output if self.is_trial else scored_as(self.scored_model)[0]

    def parameters(self, recipe: Params, seed: int) -> Params:
        """Its parameters: the seed is that of the trainings, so that cells share all that is made before these."""
        return {**self.params, "run": {**self.params["run"], "seed": seed}}

    def reads(self, node: str, dataset: str) -> str:
        """The data set that a node reads: where the sweep's model is scored, the cell's."""
        _, usual, judges = scored_as(self.scored_model)
        return self.model if node in judges and dataset == usual else dataset

    def told(self, node: str, name: str, value: Any) -> Any:
        """A parameter of a node: where models are scored, the tests without those that are skipped.

        A stage in which no source takes part hands its model on, with whatever seed: it is told the recipe's.
        """
        if name == "params:tasks" and node in (_SEARCH_FOR_ALL, *scored_as(self.scored_model)[2]):
            return {task: row for task, row in value.items() if task not in self.skipped}
        stage = next((row for row in STAGES.values() if row.node == node), None)
        if name == "params:run" and stage and not takes_part(stage.name, self.params["sources"]):
            return self.params["run"]
        return value

    def with_all_tests(self) -> "SweepCell":
        """The cell that is scored on all tests."""
        return replace(self, skipped=(), is_chosen=True, is_trial=False)

    def untrained(self) -> "SweepCell":
        """The base model of this cell in place of its trained one."""
        return replace(self, model=BASE)


def title_of(values: Mapping[str, Any]) -> str:
    """Values by name, in words."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def parse_grid(settings: SweepSettings, variants: Variants, known: Iterable[str] = ()) -> list[SweepCell]:
    """The cells of the grid in its order, the last name fastest.

    known: names at the top level of the run's own parameters, which were checked, such as those of --params only.
    Raises one RecipeError with what is wrong in the parameters of any cell.
    """
    return checked_cells(combinations_of(settings), settings, variants, known)


def combinations_of(settings: SweepSettings) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each combination of the grid's values, by name the value or its label, with the parameters that make it."""
    if settings.choose is None or not settings.grid:
        raise RecipeError("sweep: the recipe has none. Give sweep.grid, sweep.groups and sweep.choose.")
    options = [_options(name, values) for name, values in settings.grid.items()]
    for combination in product(*options):
        labels = dict(zip(settings.grid, (label for label, _ in combination), strict=True))
        changes: dict[str, Any] = {}
        for _, given in combination:
            _put_all(changes, given)
        yield labels, changes


def checked_cells(
    rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
    settings: SweepSettings,
    variants: Variants,
    known: Iterable[str],
) -> list[SweepCell]:
    """Cells of labels with the parameters that make them, whose names may lead into blocks.

    Raises one RecipeError with what is wrong in the parameters of any cell.
    """
    stage = stage_of_model(settings.model)
    if stage is None:
        raise RecipeError(f"sweep.model: '{settings.model}' is not the model of a stage.")
    cells, faults = [], {}
    for labels, given in rows:
        changes: dict[str, Any] = {}
        _put_all(changes, given)
        cell = SweepCell(labels, variants(changes), settings.model, settings.model, settings.chosen_tasks)
        cells.append(cell)
        for fault in _faults(cell, settings, stage.block, {*changes, *known}):
            faults.setdefault(fault, cell.title)
    if faults:
        lines = [f"{fault} (cell {title})" for fault, title in faults.items()]
        raise RecipeError("\n".join(["sweep: the parameters of some cells are at fault.", *lines]))
    return cells


def _faults(cell: SweepCell, settings: SweepSettings, block: str, known: Iterable[str]) -> list[str]:
    if found := list(faults_in(cell.params, known)):
        return found
    training, choose = cell.params[block], settings.choose
    if fault := development_fault(training, block, cell.params["development"]):
        return [fault]
    if not training["development"] or training["development"]["task"] != choose.task:
        return [f"sweep.choose.task: '{choose.task}', but {block}.development measures the training on something else."]
    if unknown := [task for task in settings.chosen_tasks if task not in cell.params["tasks"]]:
        return [f"sweep.chosen_tasks: '{unknown[0]}' is not a task of the recipe."]
    return []


def _options(name: str, values: Sequence[Any] | Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, Mapping[str, Any]]]:
    """Each value of a name in the grid, or its label, with the parameters that are given for it."""
    if isinstance(values, Mapping):
        return list(values.items())
    return [(value, {name: value}) for value in values]


def _put_all(changes: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Add parameters, of which names may lead into blocks, to nested ones."""
    for path, value in given.items():
        block = changes
        *above, key = path.split(".")
        for part in above:
            block = block.setdefault(part, {})
        if isinstance(value, Mapping) and isinstance(block.get(key), dict):
            _put_all(block[key], value)
        else:
            block[key] = deepcopy(value)
