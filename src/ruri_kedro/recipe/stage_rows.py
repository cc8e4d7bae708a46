"""How a source takes part in a stage: a row of its parameters `stages`."""

from collections.abc import Sequence
from typing import Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.objectives import STRATEGIES
from ruri_kedro.recipe.parse import Count, Share, ShareAbove, Size, parameters


@parameters
class Window:
    """Ranks `first` to `last` of a ranking, both included, from 1 (the paper: 30 to 100)."""

    first: Count
    last: Count

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise RecipeError(f"ranks {self.first} to {self.last}: whole numbers that start at 1 and do not fall.")

    def of(self, ranked: Sequence[str]) -> Sequence[str]:
        """The part of a ranking (best first) inside the window."""
        return ranked[self.first - 1 : self.last]


@parameters
class StageRow:
    """A source's part in a stage. What is None is as in the stage's own parameters."""

    negatives: Literal[STRATEGIES]  # where they come from
    objective: str | None = None  # None: the first of the stage
    count: Size | None = None  # negatives of an example
    window: Window | None = None
    fill: bool | None = None
    max_score_ratio: ShareAbove | None = None  # a null that is written means no limit
    triplets: bool = False  # an example for each negative, in place of one with all of them (ColBERT)
    shuffled_copy: bool = False  # each example once more, its positive's sentences in another order
    share: Share = 1.0  # of the source's pairs that take part
    max_rows: Count | None = None  # pairs of training that take part, the first of those that `share` leaves; None: all
    expected_rows: Count | None = None  # examples of training in the paper; for reports only
    mined: bool = True  # whether pairs whose positive was mined take part, too
