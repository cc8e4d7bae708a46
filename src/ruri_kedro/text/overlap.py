"""How much of one text stands in another, by character n-grams; candidates by hash, the measure on the n-grams.

Keys are texts in the form of `normalize.match_key`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rensa import RMinHash

_SEED = 1  # of the MinHash functions; signatures are compared within one run only
_BASE = np.uint64(0x9E3779B97F4A7C15)


def ngrams(key: str, n: int) -> set[str]:
    """The distinct n-grams of a key; none if it is shorter."""
    return {key[i : i + n] for i in range(len(key) - n + 1)}


def containment(first: str, second: str, n: int) -> float:
    """The larger share of either key's distinct n-grams that stand in the other; 0 where one has none."""
    one, two = ngrams(first, n), ngrams(second, n)
    return len(one & two) / min(len(one), len(two)) if one and two else 0.0


def jaccard(first: str, second: str, n: int) -> float:
    """Shared distinct n-grams among all distinct n-grams of both keys; 0 where there are none."""
    one, two = ngrams(first, n), ngrams(second, n)
    return len(one & two) / len(one | two) if one or two else 0.0


def by_chars(texts: Iterable[tuple[str, str]], chars: int = 500_000) -> Iterator[tuple[list[str], list[str]]]:
    """(id, text) in blocks of about `chars` characters: (ids, texts)."""
    ids: list[str] = []
    block: list[str] = []
    held = 0
    for id_, text in texts:
        ids.append(id_)
        block.append(text)
        held += len(text)
        if held >= chars:
            yield ids, block
            ids, block, held = [], [], 0
    if ids:
        yield ids, block


def ngram_hashes(keys: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """(64-bit hashes of all n-grams, key after key, in their order; offsets, one more than keys)."""
    lengths = np.fromiter(map(len, keys), dtype=np.int64, count=len(keys))
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths - n + 1, 0))])
    codes = _mix(np.frombuffer("".join(keys).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64))
    starts = max(len(codes) - n + 1, 0)
    hashes = np.zeros(starts, dtype=np.uint64)
    for i in range(n):
        hashes = hashes * _BASE + codes[i : i + starts]
    last = np.repeat(np.cumsum(lengths) - n, lengths)[:starts]  # where the last n-gram of the same key starts
    return _mix(hashes[np.arange(starts) <= last]), offsets


@dataclass(frozen=True)
class MinHash:
    """Locality-sensitive hashing by MinHash: `bands` bands of `rows` values over character n-grams.

    Two texts of Jaccard similarity s share a band with probability 1 - (1 - s^rows)^bands (Leskovec et al., Mining of
    Massive Datasets, Section 3.4).
    """

    ngram: int
    bands: int
    rows: int

    def buckets(self, keys: Sequence[str]) -> np.ndarray:
        """A 64-bit bucket per key and band, (keys, bands); buckets of different bands are different."""
        hashes, offsets = ngram_hashes(keys, self.ngram)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, offsets.astype(np.uint64), self.bands * self.rows, _SEED
        )
        values = np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(keys), self.bands, self.rows)
        buckets = np.tile(_mix(np.arange(self.bands, dtype=np.uint64)), (len(keys), 1))
        for row in range(self.rows):
            buckets = _mix(buckets * _BASE + values[:, :, row])
        return buckets


class HashIndex:
    """Which owners have a hash: an inverted index in memory, at most 20 bytes for each (hash, owner)."""

    _BLOCK = 10_000_000  # (asker, owner) pairs in memory at once

    def __init__(self, hashes: np.ndarray, owners: np.ndarray) -> None:
        """`hashes[i]` is one of owner `owners[i]` (a number from 0); each (hash, owner) counts once."""
        order = np.lexsort((owners, hashes))
        hashes, owners = hashes[order], owners[order].astype(np.int32)
        is_new = np.ones(len(hashes), dtype=bool)
        is_new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
        hashes, self._owners = hashes[is_new], owners[is_new]
        self._hashes, starts = np.unique(hashes, return_index=True)
        self._bounds = np.append(starts, len(hashes))
        self._shift = np.uint64(64 - min(30, len(self._hashes).bit_length() + 2))
        self._is_used = np.zeros(1 << (64 - int(self._shift)), dtype=bool)
        self._is_used[self._hashes >> self._shift] = True

    def counts(self, owners: int) -> np.ndarray:
        """Distinct hashes of each of the `owners` owners."""
        return np.bincount(self._owners, minlength=owners)

    def shared(self, hashes: np.ndarray, askers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(asker, owner, distinct hashes they share), for all that share one, by asker and owner.

        `hashes[i]` is one of asker `askers[i]`.
        """
        askers, slots = self._hits(hashes, askers)
        sizes = self._bounds[slots + 1] - self._bounds[slots]
        blocks = []
        start = 0
        totals = np.cumsum(sizes)
        while start < len(askers):
            end = self._block_end(askers, totals, start)
            blocks.append(self._count(askers[start:end], slots[start:end], sizes[start:end]))
            start = end
        if not blocks:
            return (np.empty(0, np.int64),) * 3
        return tuple(np.concatenate(columns) for columns in zip(*blocks, strict=True))

    def _hits(self, hashes: np.ndarray, askers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distinct (asker, place of the hash in the index), by asker."""
        # Most hashes of a text that no test holds end here, without a search.
        maybe = self._is_used[hashes >> self._shift]
        hashes, askers = hashes[maybe], askers[maybe]
        slots = np.minimum(np.searchsorted(self._hashes, hashes), max(len(self._hashes) - 1, 0))
        is_hit = self._hashes[slots] == hashes if len(self._hashes) else np.zeros(len(hashes), dtype=bool)
        found = np.unique(askers[is_hit].astype(np.int64) * max(len(self._hashes), 1) + slots[is_hit])
        return np.divmod(found, max(len(self._hashes), 1))

    def _block_end(self, askers: np.ndarray, totals: np.ndarray, start: int) -> int:
        """The end of a block of whole askers with about _BLOCK owners; at least one asker."""
        before = totals[start - 1] if start else 0
        end = int(np.searchsorted(totals, before + self._BLOCK, side="right"))
        if end == len(askers):
            return end
        whole = int(np.searchsorted(askers, askers[end]))
        return whole if whole > start else int(np.searchsorted(askers, askers[end], side="right"))

    def _count(self, askers: np.ndarray, slots: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, ...]:
        inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        owners = self._owners[np.repeat(self._bounds[slots], sizes) + inside].astype(np.int64)
        width = int(self._owners.max()) + 1
        pairs, counts = np.unique(np.repeat(askers, sizes) * width + owners, return_counts=True)
        return (*np.divmod(pairs, width), counts)


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al., 2014): every bit of the input moves half of the output's."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
