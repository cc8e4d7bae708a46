"""PLAID (arXiv 2205.09707): candidates by lists of centroids, scores by centroids alone, MaxSim of the best."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.search.multi_vector import kernels
from ruri_kedro.search.multi_vector.index import Index, open_index
from ruri_kedro.search.multi_vector.segment import Segment
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings

_TILE = 4  # tokens of a query that the kernels take at a time
_LANES = 32  # bytes of a table's row that a processor compares at a time


class Searcher:
    """Search in the index of a model (its digest) in `folder`; raises as `open_index`."""

    def __init__(self, folder: Path, settings: MultiVectorSettings, model: str) -> None:
        self._index: Index = open_index(folder, model)
        self._settings = settings

    def search(self, queries: Sequence[np.ndarray], k: int) -> Iterator[list[tuple[str, float]]]:
        """For each query, token vectors (m, d), its `k` best (docid, MaxSim), best first.

        Equal scores stand in order of rows. A query without vectors has no hits. A collection of at most `rescored`
        documents, and one of which the lists have fewer than `k`, is scored as a whole. Raises RecipeError if `k` is
        below 1, DataError for a query of another dimension or with a value that is not a number.
        """
        if k < 1:
            raise RecipeError(f"multi_vector k={k}: at least one hit is to be asked for.")
        for number, query in enumerate(queries):
            self._check(number, query)
        with ThreadPoolExecutor(self._settings.threads) as pool:
            yield from pool.map(partial(self._best, k=k), queries)

    def scores(self, queries: Sequence[np.ndarray], docids: Sequence[Sequence[str]]) -> list[list[float | None]]:
        """MaxSim of each query, token vectors (m, d), with documents of its own; None for one that is not indexed."""
        for number, query in enumerate(queries):
            self._check(number, query)
        with ThreadPoolExecutor(self._settings.threads) as pool:
            return list(pool.map(self._scores_of, queries, docids))

    def _scores_of(self, query: np.ndarray, docids: Sequence[str]) -> list[float | None]:
        if not len(query):
            return [0.0 if docid in self._places else None for docid in docids]
        asked = _Query(query, self._index)
        scores: list[float | None] = [None] * len(docids)
        for number, segment in enumerate(self._index.segments):
            found = [(place, self._places.get(docid)) for place, docid in enumerate(docids)]
            here = [(place, at[1]) for place, at in found if at is not None and at[0] == number]
            rows = np.array([row for _, row in here], dtype=np.int32)
            for (place, _), score in zip(here, asked.max_sim(segment, rows).tolist(), strict=True):
                scores[place] = score
        return scores

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """The segment and the row of each document that is not deleted."""
        return {
            docid: (number, row)
            for number, (segment, deleted) in enumerate(zip(self._index.segments, self._index.deleted, strict=True))
            for row, docid in enumerate(segment.docids.to_pylist())
            if not deleted[row]
        }

    def _check(self, number: int, query: np.ndarray) -> None:
        expected = self._index.codec.dimension
        if query.ndim != 2 or (len(query) and query.shape[1] != expected):
            raise DataError(f"query {number}: vectors of shape {query.shape}, (tokens, {expected}) are expected.")
        if not np.isfinite(query).all():
            raise DataError(f"query {number}: a vector holds a value that is not a number. Encode the query again.")

    def _best(self, query: np.ndarray, k: int) -> list[tuple[str, float]]:
        if not len(query):
            return []
        asked = _Query(query, self._index)
        found = []
        for number, segment in enumerate(self._index.segments):
            documents = self._chosen(asked, segment, self._index.deleted[number], k)
            scores = asked.max_sim(segment, documents)
            order = np.lexsort((documents, -scores))[:k]
            names = segment.docids.take(pa.array(documents[order])).to_pylist()
            found += zip(names, scores[order].tolist(), strict=True)
        # Python's sort keeps the order of equal scores, which is that of segments and rows.
        return sorted(found, key=lambda hit: -hit[1])[:k]

    def _chosen(self, asked: "_Query", segment: Segment, deleted: np.ndarray, k: int) -> np.ndarray:
        """The rows of a segment of which MaxSim is computed."""
        settings = self._settings
        rescored = max(settings.rescored, k)
        there = np.flatnonzero(~deleted).astype(np.int32)
        if len(there) <= rescored:
            return there
        documents, scores = asked.gather(segment, deleted, settings.probes)
        if len(documents) < k:
            return there
        documents = _best(documents, scores, max(settings.candidates, rescored))
        return _best(documents, asked.estimate(segment, documents), rescored)


class _Query:
    """A query with its scores of all centroids."""

    def __init__(self, query: np.ndarray, index: Index) -> None:
        self._codec = codec = index.codec
        self._length = len(query)
        # Vectors of zeros fill up the last tile; they add nothing to a score.
        self._vectors = np.zeros((-(-len(query) // _TILE) * _TILE, codec.dimension), dtype=np.float32)
        self._vectors[: len(query)] = query
        self._scores = np.empty((len(codec.centroids), len(self._vectors)), dtype=np.float32)
        self._table = np.zeros((len(codec.centroids), -(-len(query) // _LANES) * _LANES), dtype=np.uint8)
        kernels.score_centroids(self._vectors, codec.centroids, self._scores, self._table)

    def gather(self, segment: Segment, deleted: np.ndarray, probes: int) -> tuple[np.ndarray, np.ndarray]:
        """The documents on the lists of the nearest centroids, and what these say of their scores."""
        probed = kernels.nearest_centroids(self._scores[:, : self._length], min(probes, len(self._scores)))
        return kernels.gather(self._scores, probed, segment.starts, segment.listed, deleted)

    def estimate(self, segment: Segment, documents: np.ndarray) -> np.ndarray:
        """Scores of documents by their centroids alone."""
        return kernels.estimate(documents, segment.stored.codes, segment.offsets, self._table)

    def max_sim(self, segment: Segment, documents: np.ndarray) -> np.ndarray:
        """MaxSim of documents, decompressed."""
        codec, stored = self._codec, segment.stored
        arrays = (stored.codes, stored.packed, stored.scales, segment.offsets, codec.expanded, codec.places)
        return kernels.max_sim(documents, self._vectors * codec.spread, self._scores, *arrays)


def _best(documents: np.ndarray, scores: np.ndarray, number: int) -> np.ndarray:
    """The documents (n,) with the highest scores, in no order; of equal ones at the end the first."""
    if len(documents) <= number:
        return documents
    least = np.partition(scores, len(scores) - number)[len(scores) - number]
    above, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
    return documents[np.concatenate([above, equal[: number - len(above)]])]
