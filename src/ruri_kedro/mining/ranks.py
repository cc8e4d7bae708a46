"""Whether an encoder ranks the positive of a pair first among a sample (E5, arXiv 2212.03533, Section 2.1)."""

import heapq
from collections.abc import Iterable

import numpy as np

from ruri_kedro.text.hashing import unit_interval

_SCORES = 2**24  # held at once


def drawn(docids: Iterable[str], size: int) -> list[str]:
    """`size` of the docids, each once, drawn by their own content, so that a larger sample holds the smaller one."""
    return heapq.nsmallest(size, docids, key=lambda docid: (unit_interval("consistency", docid), docid))


def ranks_among(queries: np.ndarray, positives: np.ndarray, sample: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The rank of each query's positive, (q,) int64 from 1, if it were one of the sample's texts.

    `queries` and `positives` (q, d) and the sample (n, d) are L2-normalised; `own` (q,) is the place of the positive
    in the sample, -1 if it is not there. A text that scores as the positive does not stand before it.
    """
    ranks = np.ones(len(queries), dtype=np.int64)
    step = max(1, _SCORES // max(1, len(sample)))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        better = queries[rows] @ sample.T > (queries[rows] * positives[rows]).sum(axis=1, keepdims=True)
        inside = np.flatnonzero(own[rows] >= 0)
        better[inside, own[rows][inside]] = False
        ranks[rows] += better.sum(axis=1)
    return ranks
