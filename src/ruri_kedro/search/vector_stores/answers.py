"""Queries with their vectors and what exact search finds for them: what an engine's answers are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ruri_kedro.search.vector_stores.encoding import ExactSearch

FILE = "queries.parquet"
K = 10  # recall@10
KEPT = 3 * K  # documents of a query that are known: some tie with the last of the first ten
_EQUAL = 1e-5  # difference of scores that float32 and rounding make

_SCHEMA = pa.schema([
    ("query", pa.string()), ("tokens", pa.int32()), ("vector", pa.list_(pa.float32())),
    ("docids", pa.list_(pa.string())), ("scores", pa.list_(pa.float32())),
])  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """Of each query its vector (d,) or vectors (tokens, d), and its nearest docids with their scores, best first."""

    vectors: list[np.ndarray]
    docids: list[list[str]]
    scores: list[list[float]]

    def recall(self, found: Sequence[Sequence[str]]) -> float:
        """Recall@10: the mean share of the ten nearest that are among what was found.

        A document whose score equals that of the tenth counts as one of them.
        """
        return float(np.mean([self._share(number, docids) for number, docids in enumerate(found)]))

    def _share(self, number: int, found: Sequence[str]) -> float:
        scores = self.scores[number]
        k = min(K, len(scores))
        right = {
            docid for docid, score in zip(self.docids[number], scores, strict=True) if score >= scores[k - 1] - _EQUAL
        }
        return min(len(right & set(found[:K])), k) / k


def table_of(search: ExactSearch) -> pa.Table:
    """What an exact search has found, as it is stored."""
    vectors = [np.atleast_2d(vector) for vector in search.vectors]
    columns = [search.texts, [len(vector) for vector in vectors], [vector.ravel() for vector in vectors],
               search.docids, search.scores]  # fmt: skip
    arrays = [pa.array(column, kind) for column, kind in zip(columns, _SCHEMA.types, strict=True)]
    return pa.table(arrays, schema=_SCHEMA)


def read_answers(path: Path, multi_vectors: bool) -> Answers:
    """What is stored there."""
    table = pq.read_table(path)
    flat, tokens = (table[name].to_pylist() for name in ("vector", "tokens"))
    vectors = [np.array(one, np.float32).reshape(count, -1) for one, count in zip(flat, tokens, strict=True)]
    return Answers(
        vectors if multi_vectors else [vector[0] for vector in vectors],
        table["docids"].to_pylist(),
        table["scores"].to_pylist(),
    )
