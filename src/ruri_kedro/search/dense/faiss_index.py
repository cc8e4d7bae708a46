"""Exact search by inner product, by faiss."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

from ruri_kedro.errors import DataError

DOCUMENT_BLOCK = 2**17  # 384 MiB of 768-wide float32 vectors
QUERY_BLOCK = 2**14
_TIE_CELLS = 2**24  # scores held while ties are looked at
_GPU_LARGEST_K = 2048  # limit of faiss on a GPU


def search(queries: np.ndarray, documents: np.ndarray, k: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` documents with the largest inner product for each query, best first, equal scores by smaller index.

    `queries` (q, d) and `documents` (n, d) are floats; `documents` may be a memory map, of which one block at a
    time is read. With normalised vectors the score is the cosine. Returns indices (q, min(k, n)) int64 and scores
    (q, min(k, n)) float32. Uses a GPU if the installed faiss has one, else `threads` threads. Raises DataError for
    shapes that do not fit and vectors that are not numbers.
    """
    if queries.ndim != 2 or documents.ndim != 2 or queries.shape[1] != documents.shape[1]:
        raise DataError(f"dense search: queries {queries.shape} and documents {documents.shape} do not fit.")
    k = min(k, len(documents))
    indices = np.zeros((len(queries), k), dtype=np.int64)
    scores = np.zeros((len(queries), k), dtype=np.float32)
    if indices.size == 0:
        return indices, scores
    with threads_of_faiss(threads):
        for start in range(0, len(queries), QUERY_BLOCK):
            rows = slice(start, start + QUERY_BLOCK)
            indices[rows], scores[rows] = _search_block(as_floats(queries[rows]), documents, k)
    return indices, scores


def _search_block(queries: np.ndarray, documents: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of all document blocks for one block of queries."""
    best_indices = np.zeros((len(queries), 0), dtype=np.int64)
    best_scores = np.zeros((len(queries), 0), dtype=np.float32)
    for start in range(0, len(documents), DOCUMENT_BLOCK):
        block = as_floats(documents[start : start + DOCUMENT_BLOCK])
        indices, scores = _top(queries, block, min(k, len(block)))
        best_indices = np.concatenate([best_indices, indices + start], axis=1)
        best_scores = np.concatenate([best_scores, scores], axis=1)
        best_indices, best_scores = _sorted(best_indices, best_scores, k)
    return best_indices, best_scores


def _top(queries: np.ndarray, documents: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` best of one block of documents.

    faiss keeps any of several documents that tie for the last place. So one more than `k` is asked for, and where
    that one ties, more of them, until all that tie are there to choose from.
    """
    fetched = min(k + 1, len(documents))
    indices, scores = _nearest(queries, documents, fetched)
    tied = np.flatnonzero(_cuts_a_tie(scores, k, len(documents)))
    indices, scores = _sorted(indices, scores, k)
    while tied.size:
        fetched = min(2 * fetched, len(documents))
        still_tied = []
        step = max(1, _TIE_CELLS // fetched)
        for rows in (tied[start : start + step] for start in range(0, len(tied), step)):
            more_indices, more_scores = _nearest(queries[rows], documents, fetched)
            still_tied.append(rows[_cuts_a_tie(more_scores, k, len(documents))])
            indices[rows], scores[rows] = _sorted(more_indices, more_scores, k)
        tied = np.concatenate(still_tied)
    return indices, scores


def _cuts_a_tie(scores: np.ndarray, k: int, documents: int) -> np.ndarray:
    """Rows whose last score fetched equals the k-th, so that documents not fetched may have it too. (q,) bool"""
    if scores.shape[1] == documents:
        return np.zeros(len(scores), dtype=bool)
    return scores[:, -1] == scores[:, k - 1]


def _sorted(indices: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row by falling score, then rising index, cut at `k`."""
    order = np.lexsort((indices, -scores), axis=-1)[:, :k]
    return np.take_along_axis(indices, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _nearest(queries: np.ndarray, documents: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """faiss's answer: indices and scores (q, k), ties in any order."""
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT
    if faiss.get_num_gpus() and k <= _GPU_LARGEST_K:
        scores, indices = faiss.knn_gpu(_gpu(), queries, documents, k, metric=metric)
    else:
        scores, indices = faiss.knn(queries, documents, k, metric=metric)
    if indices.min() < 0:
        raise DataError("dense search: a vector holds a value that is not a number. Encode the texts again.")
    return indices, scores


@cache
def _gpu():
    import faiss

    return faiss.StandardGpuResources()


def as_floats(vectors: np.ndarray) -> np.ndarray:
    """float32 in one piece, as faiss takes vectors."""
    return np.ascontiguousarray(vectors, dtype=np.float32)


@contextmanager
def threads_of_faiss(number: int) -> Iterator[None]:
    """faiss uses `number` threads inside the block and as many as before after it."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(number)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
