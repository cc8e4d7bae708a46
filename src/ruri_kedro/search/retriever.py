"""The one interface of BM25, dense search and search among token vectors."""

from collections.abc import Iterable, Sequence
from typing import Protocol

Hits = list[tuple[str, float]]  # (docid, score), best first


class Retriever(Protocol):
    """A way to find documents by a query's text; what it has built stands in a folder of its own."""

    def build(self, documents: Iterable[tuple[str, str]], key: str, most: int | None = None) -> None:
        """Index (docid, text) pairs, unless what `key` stands for is indexed already.

        There are `most` pairs at most, if that is known. Raises DataError if docids recur or there is nothing to find.
        """

    def search(self, queries: Sequence[str], k: int) -> Iterable[Hits]:
        """For each query in turn its `k` best hits, fewer where no more are found.

        Raises DataError if nothing is built, or by another model or with other settings; RecipeError if `k` is below 1.
        """
