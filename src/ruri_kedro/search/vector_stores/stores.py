"""The table of engines: whoever adds one writes a class with what these have, and a row here."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from ruri_kedro.errors import RecipeError
from ruri_kedro.search.vector_stores.documents import Batch, Layout
from ruri_kedro.search.vector_stores.elasticsearch import Elasticsearch
from ruri_kedro.search.vector_stores.lancedb import LanceDB
from ruri_kedro.search.vector_stores.opensearch import OpenSearch
from ruri_kedro.search.vector_stores.parquet import Parquet
from ruri_kedro.search.vector_stores.pgvector import PgVector
from ruri_kedro.search.vector_stores.qdrant import Qdrant
from ruri_kedro.search.vector_stores.vespa import Vespa

BATCH = 500  # documents: some megabytes of JSON at 1,024 components
BATCH_OF_TOKENS = 50  # documents of token vectors: 5 MB at 100 tokens of 128 components


class VectorStore(Protocol):
    """An engine. Its docstring says how its own tools read what was written."""

    address: ClassVar[str | None]  # what `--into` takes
    multi_vectors: ClassVar[bool]  # whether it can hold vectors of tokens

    def __init__(self, address: str, layout: Layout, folder: Path) -> None:
        """Connect to what runs at the address; `folder` holds what `write` wrote."""

    @classmethod
    def write(cls, folder: Path, batches: Iterable[Batch], layout: Layout) -> None:
        """Write documents in the engine's own form, into an empty folder."""

    def load(self) -> None:
        """Send what was written; a document that is there is replaced, so that this can be repeated."""

    def search(self, vectors: list[np.ndarray], k: int, exact: bool) -> list[list[str]]:
        """Docids of the `k` nearest documents of each vector (d,), or vectors (tokens, d): exactly or by the index."""


STORES: dict[str, type[VectorStore]] = {
    "qdrant": Qdrant,
    "opensearch": OpenSearch,
    "elasticsearch": Elasticsearch,
    "pgvector": PgVector,
    "lancedb": LanceDB,
    "vespa": Vespa,
    "parquet": Parquet,
}


def store_for(to: str, layout: Layout) -> type[VectorStore]:
    """The engine of that name; RecipeError where it cannot hold vectors of tokens and is to."""
    store = STORES[to]
    if layout.multi_vectors and not store.multi_vectors:
        able = ", ".join(name for name, other in STORES.items() if other.multi_vectors)
        raise RecipeError(f"--to {to}: a vector for each token is not exported there. Take one of: {able}.")
    return store


def read_by(to: str) -> str:
    """What was written for an engine, and how it reads it."""
    return " ".join((STORES[to].__doc__ or "").split())
