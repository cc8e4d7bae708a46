"""Centroids of token vectors by k-means, and the nearest one of each vector, by faiss."""

import math

import numpy as np

from ruri_kedro.search.dense.faiss_index import as_floats, threads_of_faiss

POINTS = 64  # vectors of the sample for each centroid
HELD_OUT = 20  # of so many vectors of the sample one takes no part in k-means
_CELL_POINTS = 256  # vectors of the sample for each cell
_FLAT = 1024  # centroids up to which all are compared
_PROBES = 8  # cells in which the nearest centroid of a vector is looked for
_BLOCK = 2**16  # vectors converted to float32 at a time


def train_centroids(sample: np.ndarray, number: int, iterations: int, seed: int, threads: int) -> np.ndarray:
    """`number` centroids (k, d) float32, of length 1, of a sample of vectors (n, d); n is at least k.

    Many centroids are made in two steps: the sample falls into sqrt(k) cells, and each cell has its share of the
    centroids, with which one step of k-means over all is made. Nearly the same centroids as by one k-means, which takes
    sqrt(k) / 2 times as long.
    """
    if number <= _FLAT:
        with threads_of_faiss(threads):
            return _k_means(as_floats(sample), number, iterations, seed)
    rng = np.random.default_rng(seed)
    cells = math.isqrt(number)
    few = np.sort(rng.choice(len(sample), min(len(sample), _CELL_POINTS * cells), replace=False))
    with threads_of_faiss(threads):
        centres = _k_means(as_floats(sample[few]), cells, iterations, seed)
        cell_of = Nearest(centres, threads)(sample)
        shares = _shares(np.bincount(cell_of, minlength=cells), number)
        parts = [
            _k_means(as_floats(sample[cell_of == cell]), int(share), iterations, seed)
            for cell, share in enumerate(shares)
            if share
        ]
    return _step(np.concatenate(parts), sample, threads)


class Nearest:
    """Finds the nearest of centroids (k, d), by inner product, for each of many vectors.

    Many centroids stand in cells, of which the nearest few are searched: some 5% of the vectors get another centroid
    that is nearly as close.
    """

    def __init__(self, centroids: np.ndarray, threads: int) -> None:
        import faiss

        self._threads = threads
        size = centroids.shape[1]
        if len(centroids) <= _FLAT:
            self._index = faiss.IndexFlatIP(size)
        else:
            quantizer = faiss.IndexFlatIP(size)
            self._index = faiss.IndexIVFFlat(quantizer, size, math.isqrt(len(centroids)), faiss.METRIC_INNER_PRODUCT)
            self._index.cp.min_points_per_centroid = 1
            self._index.nprobe = _PROBES
        with threads_of_faiss(threads):
            self._index.train(centroids)
            self._index.add(centroids)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """The row of the nearest centroid of each vector (n, d), (n,) int64."""
        found = np.empty(len(vectors), dtype=np.int64)
        with threads_of_faiss(self._threads):
            for start in range(0, len(vectors), _BLOCK):
                block = as_floats(vectors[start : start + _BLOCK])
                found[start : start + len(block)] = self._index.search(block, 1)[1][:, 0]
        return found


def _k_means(vectors: np.ndarray, number: int, iterations: int, seed: int) -> np.ndarray:
    """faiss's k-means of vectors (n, d) float32: (number, d) float32 of length 1."""
    import faiss

    if len(vectors) == number:  # faiss would warn of too few points
        return vectors
    trained = faiss.Kmeans(
        vectors.shape[1],
        number,
        niter=iterations,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    trained.train(vectors)
    return trained.centroids


def _step(centroids: np.ndarray, sample: np.ndarray, threads: int) -> np.ndarray:
    """The mean, brought to length 1, of the vectors of the sample next to each centroid."""
    totals = np.zeros_like(centroids)
    nearest = Nearest(centroids, threads)(sample)
    for start in range(0, len(sample), _BLOCK):
        rows = slice(start, start + _BLOCK)
        np.add.at(totals, nearest[rows], as_floats(sample[rows]))
    lengths = np.linalg.norm(totals, axis=1, keepdims=True)
    return np.where(lengths > 0, totals / np.maximum(lengths, 1e-12), centroids)


def _shares(counts: np.ndarray, number: int) -> np.ndarray:
    """How many of `number` centroids each cell gets, (cells,): by its vectors, and no more than it has of them.

    Those that are left over by rounding go to the cells with the largest remainders.
    """
    exact = counts * (number / counts.sum())
    shares = np.minimum(np.floor(exact).astype(np.int64), counts)
    order = np.argsort(shares - exact, kind="stable")
    shares[order[: number - shares.sum()]] += 1
    return shares
