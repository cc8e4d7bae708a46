"""What is left of a token vector behind its centroid, in a few bits a component (ColBERTv2, Section 3.3)."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ruri_kedro.search.multi_vector import kernels
from ruri_kedro.search.multi_vector.centroids import HELD_OUT, Nearest, train_centroids
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings

CENTROIDS, BUCKETS = "centroids.npy", "buckets.npy"
_BLOCK = 2**14  # vectors in float32 at a time
_LEAST_SPREAD = 1e-4  # of a component that is the same in all vectors
_STEPS = 50
_SPARING = 2**14  # vectors of a sample of which some are held out


@dataclass(frozen=True)
class Codes:
    """Stored token vectors, as arrays in memory or on disk.

    codes: (n,) uint16 or uint32, their centroids; packed: (n, d * bits / 8) uint8, their residuals; scales: (n,) uint8,
    what brings the sum of both to length 1, as `kernels.measure` writes it.
    """

    codes: np.ndarray
    packed: np.ndarray
    scales: np.ndarray


@dataclass(frozen=True)
class Codec:
    """Centroids (k, d) float32 of length 1, and the buckets of a residual's components.

    A component, divided by its `spread` (d,), from `cutoffs[i - 1]` on and below `cutoffs[i]` (2^bits - 1,) is in
    bucket i, for which `weights[i]` (2^bits,) stands; all float32, the last two rising.
    """

    centroids: np.ndarray
    spread: np.ndarray
    cutoffs: np.ndarray
    weights: np.ndarray

    @property
    def bits(self) -> int:
        """Bits of a component."""
        return int(np.log2(len(self.weights)))

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self.centroids.shape[1]

    @property
    def places(self) -> tuple[int, ...]:
        """A tuple as long as a byte has components, as the kernels take it."""
        return (0,) * (8 // self.bits)

    @cached_property
    def expanded(self) -> np.ndarray:
        """The weights of the components that each byte packs, (256, 8 / bits) float32; the lowest bits come first."""
        shifts = np.arange(0, 8, self.bits)
        return self.weights[(np.arange(256)[:, None] >> shifts) & (2**self.bits - 1)]

    def empty(self, tokens: int) -> Codes:
        """Arrays in memory for so many vectors."""
        kind = np.uint16 if len(self.centroids) <= 2**16 else np.uint32
        width = self.dimension * self.bits // 8
        return Codes(np.empty(tokens, kind), np.empty((tokens, width), np.uint8), np.empty(tokens, np.uint8))

    def compress(self, vectors: np.ndarray, nearest: Nearest) -> Codes:
        """Vectors (n, d), of length 1, by their nearest centroids and what is left."""
        stored = self.empty(len(vectors))
        for start in range(0, len(vectors), _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = vectors[rows].astype(np.float32)
            codes, packed = nearest(block), stored.packed[rows]
            stored.codes[rows] = codes
            kernels.pack((block - self.centroids[codes]) / self.spread, self.cutoffs, self.bits, packed)
            kernels.measure(codes, packed, self.centroids, self.spread, self.expanded, self.places, stored.scales[rows])
        return stored

    def decompress(self, stored: Codes) -> np.ndarray:
        """The vectors (n, d) float32, of length 1, that are stored."""
        residuals = self.expanded[stored.packed].reshape(len(stored.codes), -1)
        vectors = self.centroids[stored.codes] + self.spread * residuals
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write it into a folder; centroids in float16."""
        np.save(folder / CENTROIDS, self.centroids.astype(np.float16), allow_pickle=False)
        np.save(folder / BUCKETS, np.concatenate([self.spread, self.cutoffs, self.weights]), allow_pickle=False)

    @staticmethod
    def load(folder: Path) -> "Codec":
        """What `save` wrote."""
        centroids, buckets = (np.load(folder / name, allow_pickle=False) for name in (CENTROIDS, BUCKETS))
        dimension = centroids.shape[1]
        return Codec(
            centroids.astype(np.float32), *np.split(buckets, [dimension, dimension + (len(buckets) - dimension) // 2])
        )


def fit_codec(sample: np.ndarray, number: int, settings: MultiVectorSettings) -> Codec:
    """`number` centroids of a sample of vectors (n, d), and buckets by vectors that took no part in k-means.

    A small sample has none to spare: all of it does both.
    """
    is_held_out = np.arange(len(sample)) % HELD_OUT == 0
    rest, held_out = (sample[~is_held_out], sample[is_held_out]) if len(sample) >= _SPARING else (sample, sample)
    centroids = train_centroids(rest, number, settings.iterations, settings.seed, settings.threads)
    centroids = centroids.astype(np.float16).astype(np.float32)  # as they are stored
    held_out = held_out[:_BLOCK].astype(np.float32)
    residuals = held_out - centroids[Nearest(centroids, settings.threads)(held_out)]
    spread = np.maximum(residuals.std(axis=0), _LEAST_SPREAD)
    return Codec(centroids, spread, *_buckets(residuals / spread, settings.bits))


def _buckets(values: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Cutoffs and weights of the buckets of all values.

    They begin as ColBERTv2's: equally full buckets, a weight is the median of its bucket. Lloyd's steps then lower the
    squared error: a weight is the mean of its bucket, a cutoff is half-way between two weights.
    """
    ordered = np.sort(values, axis=None)
    sums = np.concatenate([[0], np.cumsum(ordered, dtype=np.float64)])
    quantiles = np.quantile(ordered, np.arange(1, 2 ** (bits + 1)) / 2 ** (bits + 1))
    cutoffs, weights = quantiles[1::2], quantiles[::2]
    for _ in range(_STEPS):
        ends = np.concatenate([[0], np.searchsorted(ordered, cutoffs), [len(ordered)]])
        counts = np.diff(ends)
        weights = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), weights)
        cutoffs = (weights[1:] + weights[:-1]) / 2
    return cutoffs.astype(np.float32), weights.astype(np.float32)
