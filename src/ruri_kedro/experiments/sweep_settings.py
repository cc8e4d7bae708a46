"""The parameters `sweep`: a grid of settings, the seeds of each cell, and what the best cells are chosen by."""

from collections.abc import Mapping
from typing import Any, Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, parameters

# What a grid cannot change: it names the run or the place of what is stored, or is a parameter of the sweep itself.
FIXED = ("recipe", "seed", "raw_root", "versioned", "dry_run", "engine", "only", "sweep", "ablations")


@parameters
class Choice:
    """What the best cells are chosen by: the development data of the trainings, never a test."""

    task: str  # a name in the parameters `development`, which the training is measured on
    metric: Literal["spearman"]
    split: Literal["development"]


@parameters
class SweepSettings:
    """Parameters `sweep`."""

    folder: str  # what cells have made and measured
    model: str  # the data set that is trained and scored
    # By name of a parameter, also one within a block (`finetuning.batch_size`): its values; or by label of a value the
    # parameters that make it.
    grid: Mapping[str, tuple[Any, ...] | Mapping[str, Mapping[str, Any]]]
    groups: tuple[str, ...]  # names in the grid; of each combination of their values the best cell is chosen
    seeds: int | str | tuple[int | str, ...]  # of the trainings; a text of numbers, as --params can give it
    choose: Choice | None  # None: the recipe has no sweep
    chosen_tasks: tuple[str, ...]  # tests of the chosen cells only
    workers: Count  # cells at a time, each in a process of its own; 1: one after the other in this one

    def __post_init__(self) -> None:
        faults = [f"groups: '{name}' is not in the grid." for name in self.groups if name not in self.grid]
        for name, values in self.grid.items():
            if name.partition(".")[0] in FIXED:
                faults.append(f"grid.{name}: it is the same for all cells.")
            if not values:
                faults.append(f"grid.{name}: no value is given.")
        if self.grid and not self.groups:
            faults.append("groups: none, but one name in the grid is needed.")
        if faults:
            raise RecipeError("\n".join(faults))
