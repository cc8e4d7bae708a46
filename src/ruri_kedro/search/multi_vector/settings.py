"""The parameters of an index of token vectors, and of its search."""

from math import floor, log2, sqrt
from typing import Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, Size, parameters


@parameters
class MultiVectorSettings:
    """How token vectors are stored and searched.

    bits: of a component of a residual; centroids: their number, None by the number of tokens (`number_of_centroids`);
    iterations: of k-means; seed: of the sample and of k-means; shard_tokens: tokens of documents whose vectors are held
    in memory at a time, and what a killed build does again at most; probes: centroids that each token of a query looks
    at; candidates: documents that these find whose score is estimated by centroids alone; rescored: the best of them,
    whose vectors are decompressed for MaxSim; threads: of building and searching.
    """

    bits: Literal[1, 2, 4]
    centroids: Count | None
    iterations: Count
    seed: Size
    shard_tokens: Count
    probes: Count
    candidates: Count
    rescored: Count
    threads: Count

    def __post_init__(self) -> None:
        if self.rescored > self.candidates:
            raise RecipeError(
                f"rescored: {self.rescored} is more than candidates={self.candidates}, of which they are the best. "
                "Lower it or raise candidates."
            )

    @property
    def built_with(self) -> dict:
        """The settings that the files of an index depend on."""
        return {name: getattr(self, name) for name in ("bits", "centroids", "iterations", "seed", "shard_tokens")}


def number_of_centroids(tokens: int, wanted: int | None) -> int:
    """How many centroids an index of so many tokens gets: as `wanted`, but at most one for two tokens.

    None wants the largest power of two up to 16 times the square root of the tokens, as ColBERTv2's own code does, but
    at most one for a hundred tokens: they then add up to 2.6 bytes to a token of 128 components.
    """
    if wanted is None:
        return min(2 ** floor(log2(16 * sqrt(tokens))), max(1, tokens // 100))
    return min(wanted, max(1, tokens // 2))
