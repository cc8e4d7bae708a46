"""Vectors as a Parquet file, which is also what the others can be made of, without a model."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ruri_kedro.errors import RecipeError
from ruri_kedro.search.dense.faiss_index import search
from ruri_kedro.search.vector_stores.documents import Batch, Layout

FILE = "documents.parquet"
_ROWS = 2_000  # of a batch that is read


class Parquet:
    """documents.parquet: columns docid, text, and vector (or vectors, one for each token)."""

    address = None  # nothing runs
    multi_vectors = True

    def __init__(self, address: str | None, layout: Layout, folder: Path) -> None:
        self._layout, self._folder = layout, folder

    @staticmethod
    def write(folder: Path, batches: Iterable[Batch], layout: Layout) -> None:
        """Write the file."""
        write_documents(folder / FILE, batches, layout)

    def load(self) -> None:
        """Nothing is to be loaded."""

    def search(self, vectors: list[np.ndarray], k: int, exact: bool) -> list[list[str]]:
        """What an exact search among the vectors of the file finds."""
        if self._layout.multi_vectors:
            raise RecipeError("a Parquet file of multi-vectors is not searched here. Load it into an engine.")
        found = list(read_documents(self._folder / FILE, self._layout))
        docids = [docid for batch in found for docid in batch.docids]
        rows, _ = search(np.stack(vectors), np.concatenate([batch.vectors for batch in found]), k, 1)
        return [[docids[row] for row in one] for one in rows]


def schema_of(layout: Layout) -> pa.Schema:
    """Columns of a file of documents: float32, multi-vectors in float16."""
    if layout.multi_vectors:
        vectors = pa.list_(pa.list_(pa.float16(), layout.dimension))
    else:
        vectors = pa.list_(pa.float32(), layout.dimension)
    text = [("text", pa.string())] if layout.texts else []
    return pa.schema([("docid", pa.string()), *text, (layout.vector_field, vectors)])


def write_documents(path: Path, batches: Iterable[Batch], layout: Layout) -> None:
    """Documents as a Parquet file."""
    schema = schema_of(layout)
    with pq.ParquetWriter(path, schema) as writer:
        for batch in batches:
            texts = [pa.array(batch.texts, pa.string())] if layout.texts else []
            columns = [pa.array(batch.docids, pa.string()), *texts, _vectors(batch, layout)]
            writer.write_table(pa.table(columns, schema=schema))


def read_documents(path: Path, layout: Layout) -> Iterator[Batch]:
    """The documents of such a file."""
    for part in pq.ParquetFile(path).iter_batches(_ROWS):
        texts = part["text"].to_pylist() if layout.texts else None
        yield Batch(part["docid"].to_pylist(), texts, _arrays(part[layout.vector_field], layout))


def _vectors(batch: Batch, layout: Layout) -> pa.Array:
    if not layout.multi_vectors:
        flat = np.ascontiguousarray(batch.vectors, dtype=np.float32).ravel()
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), layout.dimension)
    offsets = np.cumsum([0, *map(len, batch.vectors)], dtype=np.int32)
    flat = np.concatenate([np.zeros((0, layout.dimension)), *batch.vectors]).astype(np.float16)
    values = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), layout.dimension)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _arrays(column: pa.Array, layout: Layout) -> np.ndarray | list[np.ndarray]:
    if not layout.multi_vectors:
        return column.flatten().to_numpy().reshape(-1, layout.dimension)
    tokens = column.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, layout.dimension)
    lengths = column.value_lengths().to_numpy()
    return np.split(tokens.astype(np.float32), np.cumsum(lengths)[:-1])
