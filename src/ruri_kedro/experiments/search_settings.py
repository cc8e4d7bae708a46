"""The parameters `sweep.search`: trials that Optuna draws from ranges, in place of every combination of a grid."""

from collections.abc import Mapping
from typing import Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, Size, parameters


@parameters
class Range:
    """What a parameter is drawn from: numbers from low to high, both included, or one of `choices`.

    Whole numbers are drawn where low and high are whole. Its name is the user's own, so the defaults stand here and not
    in conf/base.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False  # drawn evenly in the logarithm
    choices: tuple[str | int | float | bool, ...] | None = None

    def __post_init__(self) -> None:
        if self.choices is not None:
            self._check_choices(self.choices)
        elif self.low is None or self.high is None:
            raise RecipeError("give low and high, or choices.")
        elif self.low > self.high:
            raise RecipeError(f"low: {self.low} is above high, {self.high}.")
        elif self.log and self.low <= 0:
            raise RecipeError(f"low: {self.low}, but with log: true the numbers must be above 0.")

    def _check_choices(self, choices: tuple) -> None:
        if self.low is not None or self.high is not None or self.log:
            raise RecipeError("choices: give either these or low, high and log.")
        if not choices or len(set(choices)) < len(choices):
            raise RecipeError("choices: give one or more values, each once.")
        if len({type(value) for value in choices}) > 1:
            raise RecipeError(f"choices: {list(choices)}; write all values alike, as [1.0, 2.5], or all as text.")

    @property
    def bounds(self) -> tuple:
        """All choices, or the lowest and the highest number."""
        return self.choices if self.choices is not None else (self.low, self.high)

    @property
    def middle(self) -> str | int | float | bool:
        """A value in the middle: of choices that in the middle of the list, of numbers on the scale of the range."""
        if self.choices is not None:
            return self.choices[len(self.choices) // 2]
        value = (self.low * self.high) ** 0.5 if self.log else (self.low + self.high) / 2
        return round(value) if isinstance(self.low, int) and isinstance(self.high, int) else value


@parameters
class PrunerSettings:
    """Which trials end before their last evaluation."""

    name: Literal["none", "median"]
    startup_trials: Size  # of each group that are done whole before one is pruned
    warmup: Count  # the evaluation of a training after which a trial may end at the earliest


@parameters
class SearchSettings:
    """Parameters `sweep.search`."""

    trials: Count | None  # of each group; None: no search, every combination of the grid is trained
    sampler: Literal["tpe", "random"]
    startup_trials: Size  # of each group that are drawn at random before `tpe` looks at what was found
    pruner: PrunerSettings
    ranges: Mapping[str, Range]  # by name of a parameter, also one within a block

    def __post_init__(self) -> None:
        if self.trials is not None and not self.ranges:
            raise RecipeError("ranges: none, but trials are to be drawn from them.")
        if self.trials is None and self.ranges:
            raise RecipeError("trials: null, but there are ranges. Give the number of trials.")
