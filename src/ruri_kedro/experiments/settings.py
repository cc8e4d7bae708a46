"""The parameters `ablations`: tables of cells, each the recipe but for what it names."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import parameters, unknown
from ruri_kedro.recipe.stages import STAGES


@parameters
class CellRow:
    """The keys of a cell. Its name is the user's own, so the defaults stand here and not in conf/base."""

    label: str
    model: str  # the data set that is evaluated
    against: str | None = None  # the cell it is compared with
    paper: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # size: the paper's figures
    params: Mapping[str, Any] = field(default_factory=dict)  # in place of the recipe's
    copies: Mapping[str, str] = field(default_factory=dict)  # parameter: the recipe's parameter that it takes after
    data: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # node: data set: the one it reads instead
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # stage: sources that take no part in it
    objectives: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # stage: objective: the one in its place

    def __post_init__(self) -> None:
        faults = [
            f"{key}.{stage}: {unknown(stage, STAGES)}"
            for key, given in (("without", self.without), ("objectives", self.objectives))
            for stage in given
            if stage not in STAGES
        ]
        faults += [
            f"objectives.{stage}.{name}: {unknown(name, STAGES[stage].objectives)}"
            for stage, given in self.objectives.items()
            for name in (*given, *given.values())
            if stage in STAGES and name not in STAGES[stage].objectives
        ]
        if faults:
            raise RecipeError("\n".join(faults))


@parameters
class TableRow:
    """The keys of a table, whose name is the user's own."""

    title: str
    columns: tuple[str, ...]  # the metrics that it shows
    cells: Mapping[str, CellRow]
    paper_columns: tuple[str, ...] = ()
    benchmark: bool = False  # the models are scored by mteb


@parameters
class BenchmarkRow:
    """Of tables with `benchmark: true`, whose models mteb scores."""

    name: str
    prompts: str | None  # a set of mteb.prompts; None: the models' own


@parameters
class AblationSettings:
    """Parameters `ablations`."""

    folder: str  # what cells have made and measured
    seeds: int | str | tuple[int | str, ...]  # a text of numbers, as --params can give it
    benchmark: BenchmarkRow
    only: int | str | tuple[int | str, ...] | None  # names of tables; None: all
    tables: Mapping[str, TableRow]
