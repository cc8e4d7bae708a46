"""The parameters `sweep`: a grid of settings, the seeds of each cell, and what the best cells are chosen by."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.experiments.search_settings import SearchSettings
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
    search: SearchSettings  # of trials, beside the names in the grid
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
        faults += self._faults_of_search()
        if faults:
            raise RecipeError("\n".join(faults))

    @property
    def is_search(self) -> bool:
        """Whether trials are drawn, and not every combination of the grid is trained."""
        return self.search.trials is not None

    def _faults_of_search(self) -> Iterator[str]:
        ranges = self.search.ranges
        for name, values in self.grid.items():
            made = [key for row in values.values() for key in row] if isinstance(values, Mapping) else []
            if name in ranges:
                yield f"search.ranges.{name}: it is in the grid, too. Remove it from one of them."
            elif self.is_search and name not in self.groups:
                yield f"grid.{name}: with a search only groups are in the grid. Give it as a range, with choices."
            yield from (f"search.ranges.{key}: it is given by the grid's {name}, too." for key in made if key in ranges)
        yield from (f"search.ranges.{n}: it is the same for all cells." for n in ranges if n.partition(".")[0] in FIXED)
        if self.is_search and self.workers > 1:
            yield (
                f"workers: {self.workers}, but what a trial of a search is depends on those before it, so they follow "
                "each other. Set it to 1."
            )
