"""The cells of the ablations, from their parameters: what each one changes of the recipe."""

import copy
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kedro.pipeline import Pipeline

from ruri_kedro.benchmark.tasks.specs import RERANKING_SUFFIX
from ruri_kedro.errors import RecipeError
from ruri_kedro.experiments.settings import CellRow
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stages import BASE, STAGES, is_trained, kind_of_model, registered_models
from ruri_kedro.text.names import check_names, listed_names

logger = logging.getLogger(__name__)

# The scores that are wanted of a cell's model, the recipe's model in whose place it is, and the nodes that read it.
_Scored = tuple[str, str, tuple[str, ...]]
_BENCHMARKED: _Scored = ("scores_benchmark", "embedder", ("score_benchmark",))
# What the tables that all cells share are made with; of `sources` all but what stages alone read.
DATA = ("sources", "tasks", "development", "deduplication", "leaks", "consistency", "only", "engine")
_OF_STAGES = ("stages", "prompts")


CHANGES = ("params", "copies", "data", "without", "objectives")


@dataclass(frozen=True, kw_only=True)
class Cell(CellRow):
    """One line of a table: its row, which was checked. It is the recipe but for what the row names."""

    table: str
    name: str
    benchmark: bool = False  # an embedder is scored by mteb, and not on the recipe's own tests

    def __post_init__(self) -> None:
        """All was checked when the row was parsed."""

    @property
    def title(self) -> str:
        """Table and name, as messages and runs call the cell."""
        return f"{self.table}/{self.name}"

    @property
    def changes(self) -> dict[str, Any]:
        """What differs from the recipe, without what does not."""
        named = {name: getattr(self, name) for name in CHANGES}
        return {"model": self.model, **{name: value for name, value in named.items() if value}}

    @property
    def wanted(self) -> str:
        """The table of scores that says what the model is worth."""
        return self._scored_as[0]

    def reads(self, node: str, dataset: str) -> str:
        """The data set that a node of this cell reads where the recipe's reads `dataset`."""
        _, usual, judges = self._scored_as
        if node in judges and dataset == usual:
            return self.model
        return self.data.get(node, {}).get(dataset, dataset)

    def told(self, node: str, name: str, value: Any) -> Any:
        """What a node of this cell is given for a parameter: its value."""
        return value

    @property
    def _scored_as(self) -> tuple[str, str, tuple[str, ...]]:
        return _BENCHMARKED if self.benchmark else scored_as(self.model)

    def parameters(self, recipe: Params, seed: int) -> Params:
        """The recipe's parameters with the changes of the cell and the seed."""
        changed = copy.deepcopy(recipe)
        for target, source in self.copies.items():
            _put(changed, target, copy.deepcopy(parameter(recipe, source)))
        changed = _merged(changed, self.params, f"{self.title}: params.")
        changed["seed"] = changed["run"]["seed"] = seed
        for stage, sources in self.without.items():
            for source in sources:
                changed["sources"][source]["stages"].pop(stage)
        for stage, objectives in self.objectives.items():
            for source in changed["sources"].values():
                _replace_objectives(source.get("stages", {}), stage, objectives)
        return changed


def scored_as(model: str) -> _Scored:
    """How a model of the catalog is scored: as the model of its kind that the recipe registers."""
    kind = kind_of_model(model)
    stage = next(row for row in registered_models().values() if row.kind == kind)
    name = stage.evaluated_as
    return f"scores_{name}", stage.model, (f"search_{name}", f"score_{name}")


def parse_cells(settings: Params, recipe: Params, nodes: Pipeline) -> list[Cell]:
    """The cells of the tables that `settings.only` names (all, if it names none), in order.

    Raises RecipeError for a name that is not known: a table, model, parameter, node, data set, source or cell.
    """
    tables = settings["tables"]
    check_names("ablations.tables", tables)
    for table, rows in tables.items():
        check_names(f"ablations.tables.{table}.cells", rows["cells"])
    only = listed_names("ablations.only", settings["only"])
    _known("ablations.only", only, tables)
    cells = [
        _cell(table, name, row, bool(rows.get("benchmark")))
        for table, rows in tables.items()
        if not only or table in only
        for name, row in rows["cells"].items()
    ]
    for cell in cells:
        _check(cell, tables[cell.table]["cells"], recipe, nodes)
    left_out = [cell for cell in cells if not is_trained(cell.model, recipe["sources"])]
    for cell in left_out:
        logger.info(
            "%s is left out: the recipe trains no %s, since no source takes part in it.", cell.title, cell.model
        )
    if cells and len(left_out) == len(cells):
        raise RecipeError("ablations.tables: the recipe trains the model of none of these cells.")
    return [cell for cell in cells if cell not in left_out]


def check_columns(tables: Params, cells: Iterable[Cell], tasks: Params) -> None:
    """Raise RecipeError for a column of a task that the recipe has not, before any cell is run for it."""
    known = [*tasks, *(f"{task}{RERANKING_SUFFIX}" for task in tasks)]
    for table in dict.fromkeys(cell.table for cell in cells if not cell.benchmark):
        for column in tables[table]["columns"]:
            _known(f"ablations.tables.{table}.columns.{column}", [column.rpartition("/")[0]], known)


def parse_seeds(settings: Params, block: str = "ablations") -> list[int]:
    """`<block>.seeds`, a number, a list of numbers or a text of them, as --params can give it."""
    seeds = settings["seeds"]
    given = seeds.replace(",", " ").split() if isinstance(seeds, str) else seeds if isinstance(seeds, list) else [seeds]
    try:
        return list(dict.fromkeys(map(int, given)))
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{block}.seeds: '{seeds}' is not a list of whole numbers.") from error


def _cell(table: str, name: str, row: Mapping[str, Any], benchmark: bool) -> Cell:
    place = f"ablations.tables.{table}.cells.{name}"
    parsed = parse(CellRow, row, place)
    models = [BASE, *(name for stage in STAGES.values() for name in dict.fromkeys((stage.output, stage.model)))]
    embedders = [model for model in models if kind_of_model(model) == kind_of_model(_BENCHMARKED[1])]
    _known(f"{place}.model", [row["model"]], embedders if benchmark else models)
    return Cell(table=table, name=name, benchmark=benchmark, **vars(parsed))


def _check(cell: Cell, others: Mapping[str, Any], recipe: Params, nodes: Pipeline) -> None:
    place = f"ablations.tables.{cell.table}.cells.{cell.name}"
    if cell.against is not None:
        _known(f"{place}.against", [cell.against], others)
    inputs = {node.name: set(node.inputs) for node in nodes.nodes}
    _known(f"{place}.data", cell.data, inputs)
    for node, replaced in cell.data.items():
        _known(f"{place}.data.{node}", replaced, inputs[node])
        _known(f"{place}.data.{node}", replaced.values(), nodes.datasets())
    for stage, sources in cell.without.items():
        takes_part = [name for name, row in recipe["sources"].items() if stage in row.get("stages", {})]
        _known(f"{place}.without.{stage}", sources, takes_part)
    changed = cell.parameters(recipe, recipe["seed"])
    if is_trained(cell.model, recipe["sources"]) and not is_trained(cell.model, changed["sources"]):
        raise RecipeError(f"{place}.without: no source is left that takes part in a training of '{cell.model}'.")
    for name in DATA:
        if _built_from(changed, name) != _built_from(recipe, name):
            raise RecipeError(
                f"{place}.params.{name}: passages and pairs are made with it, and these are the same for all cells. "
                "Give what changes them a recipe of its own."
            )


def _built_from(params: Params, name: str) -> Any:
    if name != "sources":
        return params[name]
    return {
        source: {key: value for key, value in row.items() if key not in _OF_STAGES}
        for source, row in params[name].items()
    }


def parameter(params: Params, path: str) -> Any:
    """The value at `a.b` in nested parameters; RecipeError where there is none."""
    value: Any = params
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise RecipeError(f"ablations: the recipe has no parameter '{path}'.")
        value = value[key]
    return value


def _put(params: Params, path: str, value: Any) -> None:
    parameter(params, path)
    above, _, key = path.rpartition(".")
    (parameter(params, above) if above else params)[key] = value


def _merged(params: Params, changes: Mapping[str, Any], place: str) -> Params:
    """`params` with single values changed; only such that are there."""
    for key, value in changes.items():
        if key not in params:
            raise RecipeError(f"ablations.tables.{place}{key}: the recipe has no such parameter.")
        both = isinstance(value, Mapping) and isinstance(params[key], Mapping)
        params[key] = _merged(params[key], value, f"{place}{key}.") if both else value
    return params


def _replace_objectives(stages: Params, stage: str, objectives: Mapping[str, str]) -> None:
    rows = stages.get(stage, [])
    for row in [rows] if isinstance(rows, Mapping) else rows:
        current = STAGES[stage].objective_of(row)
        row["objective"] = objectives.get(current, current)


def _known(place: str, given: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in given:
        if name not in known:
            raise RecipeError(f"{place}: '{name}' is unknown. Known: {', '.join(sorted(known)) or 'none'}.")
