"""BM25 straight from Lucene's formula, on lists of terms."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np


def bm25_scores(
    documents: Sequence[Sequence[str]],
    query: Sequence[str],
    k1: float,
    b: float,
    stored: Callable[[int], int] | None = None,
) -> np.ndarray:
    """Score of every document, float64 (n,).

    Lucene's BM25Similarity has no factor (k1 + 1) and stores the length of a document in one byte; `stored` is the
    length that is read back, by default Lucene's.
    """
    counts = [Counter(terms) for terms in documents]
    lengths = np.array([(stored or stored_length)(len(terms)) for terms in documents], dtype=np.float64)
    filled = sum(1 for terms in documents if terms)
    average = sum(map(len, documents)) / filled
    scores = np.zeros(len(documents))
    for term, times in Counter(query).items():
        frequency = np.array([count[term] for count in counts], dtype=np.float64)
        found = np.count_nonzero(frequency)
        idf = np.log(1 + (filled - found + 0.5) / (found + 0.5))
        scores += times * idf * frequency / (frequency + k1 * (1 - b + b * lengths / average))
    return scores


def stored_length(length: int) -> int:
    """The length that Lucene reads back: exact to 40, then with its four leading bits (SmallFloat.intToByte4)."""
    free = 255 - (_code(2**31 - 1))
    return length if length < free else free + _decode(_code(length - free))


def _code(value: int) -> int:
    bits = value.bit_length()
    if bits < 4:
        return value
    shift = bits - 4
    return (value >> shift) & 7 | (shift + 1) << 3


def _decode(code: int) -> int:
    bits, shift = code & 7, (code >> 3) - 1
    return bits if shift < 0 else (bits | 8) << shift
