"""Where the vectors come from that are exported: a model, an index of token vectors, or an export as Parquet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ruri_kedro.errors import DataError
from ruri_kedro.search.multi_vector.index import Index, open_index
from ruri_kedro.search.multi_vector.residuals import Codes
from ruri_kedro.search.multi_vector.segment import Segment
from ruri_kedro.search.vector_stores import answers, parquet
from ruri_kedro.search.vector_stores.documents import Batch
from ruri_kedro.search.vector_stores.encoding import Encoder, ExactSearch
from ruri_kedro.search.vector_stores.manifest import MANIFEST, read_export

_BLOCK = 1000  # documents of an index in memory at a time


@dataclass(frozen=True)
class Source:
    """Documents with vectors. `answers` gives the table of queries, if there is one, when the last batch was read."""

    dimension: int
    multi_vectors: bool
    texts: bool
    batches: Iterator[Batch]
    answers: Callable[[], pa.Table | None] = lambda: None
    facts: dict[str, Any] = field(default_factory=dict)  # what they were made of


def encoded_texts(
    encoder: Encoder, documents: Sequence[tuple[str, str]], queries: list[str], facts: dict[str, Any]
) -> Source:
    """(docid, text) documents by a model, with the nearest of `queries`; DataError where there is none of either."""
    if not documents or not queries:
        raise DataError("the collection has no document, or nothing is asked of it. Name another one.")
    search = ExactSearch(encoder, queries, answers.KEPT)
    dimension = search.vectors[0].shape[-1]
    batches = search.encoded(documents)
    return Source(dimension, encoder.multi_vectors, True, batches, lambda: answers.table_of(search), facts)


def stored(folder: Path) -> Source:
    """What an index of token vectors or an export as Parquet holds; DataError for a folder that is neither."""
    if not (folder / MANIFEST).exists():
        index = open_index(folder, None)
        facts = {"model": index.manifest["model"]}
        return Source(index.codec.dimension, True, False, _documents(index), facts=facts)
    to, layout, facts = read_export(folder)
    if to != "parquet":
        raise DataError(f"{folder}: was written for {to}. What --to parquet wrote can be exported again.")
    batches = parquet.read_documents(folder / parquet.FILE, layout)
    asked = folder / answers.FILE
    return Source(
        layout.dimension, layout.multi_vectors, layout.texts, batches,
        lambda: pq.read_table(asked) if asked.exists() else None, facts,
    )  # fmt: skip


def _documents(index: Index) -> Iterator[Batch]:
    """The documents of an index in blocks, in order of rows, without those that are deleted."""
    for segment, deleted in zip(index.segments, index.deleted, strict=True):
        for first in range(0, len(segment), _BLOCK):
            last = min(first + _BLOCK, len(segment))
            docids = segment.docids.slice(first, last - first).to_pylist()
            vectors = _vectors(index, segment, first, last)
            kept = np.flatnonzero(~deleted[first:last])
            yield Batch([docids[row] for row in kept], None, [vectors[row] for row in kept])


def _vectors(index: Index, segment: Segment, first: int, last: int) -> list[np.ndarray]:
    """The decompressed vectors of documents, of length 1."""
    offsets, stored = segment.offsets, segment.stored
    rows = slice(offsets[first], offsets[last])
    vectors = index.codec.decompress(Codes(stored.codes[rows], stored.packed[rows], stored.scales[rows]))
    return np.split(vectors, offsets[first + 1 : last] - offsets[first])
