"""Dense search by the interface that all retrievers have."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ruri_kedro.engines.engine import Engine
from ruri_kedro.errors import RecipeError
from ruri_kedro.search.dense.embeddings import EmbeddingCache, Encode, build_embeddings, load_embeddings
from ruri_kedro.search.dense.nearest import NearestSettings, search_nearest, write_nearest_index
from ruri_kedro.search.retriever import Hits


@dataclass(frozen=True)
class DenseRetriever:
    """Texts by one vector each. `encode_query` and `encode_document` give vectors (n, d) of length 1 of n texts.

    `cache` has the vectors of documents; `engine` encodes them.
    """

    folder: Path
    cache: EmbeddingCache
    encode_query: Encode
    encode_document: Encode
    nearest: NearestSettings
    threads: int
    engine: Engine = map

    def build(self, documents: Iterable[tuple[str, str]], key: str, most: int | None = None) -> None:
        """As `Retriever.build`."""
        index = partial(write_nearest_index, settings=self.nearest, threads=self.threads)
        build_embeddings(documents, self.folder, key, self.cache, self.encode_document, index, self.engine, most)

    def search(self, queries: Sequence[str], k: int) -> Iterator[Hits]:
        """As `Retriever.search`; the score is the cosine."""
        if k < 1:
            raise RecipeError(f"dense k={k}: at least one hit is to be asked for.")
        collection = load_embeddings(self.folder, self.cache)
        vectors = np.asarray(self.encode_query(list(queries)))
        found = search_nearest(vectors, collection.vectors, self.folder, k, self.nearest, self.threads)
        for rows, scores in zip(*found, strict=True):
            there = rows >= 0
            yield list(zip(collection.names(rows[there]), scores[there].tolist(), strict=True))
