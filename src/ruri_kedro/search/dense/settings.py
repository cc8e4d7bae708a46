"""The parameters `mining.supervised.nearest`: which index a collection of vectors gets."""

from typing import Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, Size, parameters


@parameters
class NearestSettings:
    """Which index a collection gets.

    exact_below: collections with fewer documents are searched exactly (flat), whatever `kind`; kind: `flat`, `ivf`
    (`cells` clusters, of which a query looks at `probes`; float16) or `hnsw` (`links` per document, `effort` documents
    looked at, both as in Malkov and Yashunin, arXiv 1603.09320).
    """

    exact_below: Size
    kind: Literal["flat", "ivf", "hnsw"]
    cells: Count
    probes: Count
    links: Count
    effort: Count

    def __post_init__(self) -> None:
        if self.probes > self.cells:
            raise RecipeError(f"probes={self.probes} is more than cells={self.cells}. Lower probes or raise cells.")
        if self.kind == "ivf" and self.exact_below < self.cells:
            raise RecipeError(
                f"exact_below={self.exact_below} is less than cells={self.cells}. A cell needs a document: raise it."
            )

    def kind_for(self, documents: int) -> str:
        """The kind of index for a collection of this size."""
        return "flat" if documents < self.exact_below else self.kind
