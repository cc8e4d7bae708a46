"""Texts of a corpus that a test holds, whole, in part or edited."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ruri_kedro.errors import DataError
from ruri_kedro.recipe.parse import Count, ShareAbove, parameters
from ruri_kedro.tables import SCHEMAS
from ruri_kedro.tables.lookup import shard_texts
from ruri_kedro.tables.store import blocks, to_batch
from ruri_kedro.text.normalize import match_key
from ruri_kedro.text.overlap import HashIndex, MinHash, by_chars, containment, jaccard, ngram_hashes

ROLES = ("query", "positive", "text", "passage")
KINDS = ("exact", "contained", "near")  # the strongest first
SHORT = "short"  # exact, but too short to count by itself
_BY_ITEM = ("query", "positive")  # these join into pairs, so each item counts
_ROUNDING = 1e-9


@parameters
class Contained:
    """`threshold`: the least share of the distinct `ngram`-grams of one text that stand in the other."""

    ngram: Count
    threshold: ShareAbove


@parameters
class Near:
    """`threshold`: the least Jaccard similarity of the `ngram`-grams of two texts of `min_chars` or more."""

    ngram: Count
    threshold: ShareAbove
    min_chars: Count
    bands: Count
    rows: Count

    def is_long(self, text: str, key: str) -> bool:
        """Whether the text is long enough, and its match key has an n-gram."""
        return len(text) >= self.min_chars and len(key) >= self.ngram


@parameters
class LeakRules:
    """When a text counts as one of a test; `index_ngrams`: n-grams of test texts in memory at once.

    `min_chars` is 1 or more: texts of punctuation alone are all the same.
    """

    min_chars: Count
    contained: Contained
    near: Near
    index_ngrams: Count


class Owner(NamedTuple):
    """An item of a test that has a text."""

    test: str
    role: str
    item_id: str


class TextIndex:
    """Distinct test texts, and how to find those that another text holds."""

    def __init__(self, owners: Mapping[str, Sequence[Owner]], long_keys: Iterable[str], rules: LeakRules) -> None:
        """`owners` by match key; `long_keys`: the keys that are compared for likeness."""
        self.keys = list(owners)
        self.owners = list(owners.values())
        self._rules = rules
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self._ngrams = HashIndex(*_by_text(ngram_hashes(self.keys, rules.contained.ngram)))
        self._sizes = self._ngrams.counts(len(self.keys))
        self._minhash = MinHash(rules.near.ngram, rules.near.bands, rules.near.rows)
        numbers = np.array([self._numbers[key] for key in long_keys], dtype=np.int64)
        buckets = self._minhash.buckets([self.keys[number] for number in numbers])
        self._buckets = HashIndex(buckets.ravel(), np.repeat(numbers, rules.near.bands))

    def find(self, texts: Sequence[str]) -> dict[tuple[int, int], tuple[str, float]]:
        """(kind, overlap) by (number of the text, number of the test text).

        A pair of texts is of the first kind that fits: `exact` on the match key, overlap 1; `contained`, the larger
        containment; `near`, the Jaccard similarity. Hashes find the candidates, the texts' own n-grams decide.
        """
        keys = [match_key(text) for text in texts]
        found = {
            (asker, self._numbers[key]): ("exact", 1.0)
            for asker, key in enumerate(keys)
            if key and key in self._numbers
        }
        contained, near = self._rules.contained, self._rules.near
        for kind, rule, measure, candidates in (
            ("contained", contained, containment, self._containing(keys)),
            ("near", near, jaccard, self._similar(keys, texts)),
        ):
            for asker, number in candidates:
                if (asker, number) not in found:
                    overlap = measure(keys[asker], self.keys[number], rule.ngram)
                    if overlap >= rule.threshold:
                        found[asker, number] = (kind, overlap)
        return found

    def _containing(self, keys: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Pairs that share enough n-gram hashes for either to be contained in the other."""
        hashes, offsets = ngram_hashes(keys, self._rules.contained.ngram)
        askers, numbers, counts = self._ngrams.shared(*_by_text((hashes, offsets)))
        own = np.zeros(len(keys), dtype=np.int64)
        for asker in np.unique(askers):
            own[asker] = len(np.unique(hashes[offsets[asker] : offsets[asker + 1]]))
        least = self._rules.contained.threshold * np.minimum(own[askers], self._sizes[numbers])
        enough = counts >= least - _ROUNDING
        return zip(askers[enough].tolist(), numbers[enough].tolist(), strict=True)

    def _similar(self, keys: Sequence[str], texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Pairs of long texts that share a bucket."""
        long = np.array([n for n, text in enumerate(texts) if self._rules.near.is_long(text, keys[n])], dtype=np.int64)
        buckets = self._minhash.buckets([keys[n] for n in long])
        askers, numbers, _ = self._buckets.shared(buckets.ravel(), np.repeat(long, self._minhash.bands))
        return zip(askers.tolist(), numbers.tolist(), strict=True)


class BenchmarkTexts:
    """The test texts of a recipe, indexed in portions of `rules.index_ngrams`; a single portion is kept in memory."""

    def __init__(self, rows: Callable[[], Iterable[Mapping]], rules: LeakRules) -> None:
        """`rows()` gives rows of TEST_TEXTS. Raises DataError, when read, for a role that is not known."""
        self._rows = rows
        self._rules = rules
        self._whole: TextIndex | None = None

    def __iter__(self) -> Iterator[TextIndex]:
        if self._whole is not None:
            yield self._whole
            return
        portions = 0
        for portion in self._portions():
            index = TextIndex(*portion, self._rules)
            portions += 1
            yield index
        if portions == 1:
            self._whole = index

    def _portions(self) -> Iterator[tuple[dict[str, list[Owner]], list[str]]]:
        owners: dict[str, list[Owner]] = {}
        long_keys: dict[str, None] = {}
        held = 0
        for row in self._rows():
            if row["role"] not in ROLES:
                raise DataError(f"test '{row['test']}', item '{row['item_id']}', field 'role': '{row['role']}' is not "
                                f"known. Roles: {', '.join(ROLES)}.")  # fmt: skip
            key = match_key(row["text"])
            if key not in owners:
                held += len(key)
            owners.setdefault(key, []).append(Owner(row["test"], row["role"], row["item_id"]))
            if self._rules.near.is_long(row["text"], key):
                long_keys[key] = None
            if held >= self._rules.index_ngrams:
                yield owners, list(long_keys)
                owners, long_keys, held = {}, {}, 0
        if owners:
            yield owners, list(long_keys)


def find_matches(
    texts: Callable[[], Iterable[tuple[str, str]]], tests: Iterable[TextIndex], min_chars: int
) -> Iterator[dict]:
    """Rows of MATCHES: the (docid, text) of `texts()` that a test holds, by portion of the tests, then in their order.

    A row per docid, test and role, for the strongest match; with the roles query and positive a row per item. An exact
    match of a key below `min_chars` counts for queries only, as kind `short`.
    """
    for index in tests:
        yield from match_portion(texts(), index, min_chars)


def match_portion(texts: Iterable[tuple[str, str]], index: TextIndex, min_chars: int) -> Iterator[dict]:
    """`find_matches` for one portion of the tests."""
    for docids, block in by_chars(texts):
        best: dict[tuple, tuple] = {}
        for (asker, number), (kind, overlap) in sorted(index.find(block).items()):
            is_short = kind == "exact" and len(index.keys[number]) < min_chars
            for owner in index.owners[number]:
                if is_short and owner.role != "query":
                    continue
                item = owner.item_id if owner.role in _BY_ITEM else ""
                place = (asker, owner.test, owner.role, item)
                match = (SHORT if is_short else kind, overlap, owner.item_id)
                if place not in best or strength(*match[:2]) > strength(*best[place][:2]):
                    best[place] = match
        for (asker, test, role, _), (kind, overlap, item_id) in best.items():
            yield {
                "docid": docids[asker],
                "test": test,
                "role": role,
                "item_id": item_id,
                "kind": kind,
                "overlap": overlap,
            }


def match_shards(
    passages: Sequence[Path], tests: Iterable[TextIndex], rules: LeakRules, done: int
) -> Iterator[pa.Table]:
    """A table of MATCHES for each portion of the tests and each file of passages, from number `done` on."""
    schema = SCHEMAS["matches"]
    pairs = ((index, shard) for index in tests for shard in passages)
    for index, shard in islice(pairs, done, None):
        found = blocks(match_portion(shard_texts(shard), index, rules.min_chars))
        yield pa.Table.from_batches([to_batch(block, schema) for block in found], schema=schema)


def strength(kind: str, overlap: float) -> tuple[int, float]:
    """Orders matches: by kind, then by overlap; the stronger one is larger."""
    return (-KINDS.index(kind) if kind in KINDS else -len(KINDS), overlap)


def _by_text(hashes: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, number of the text of each) of what `ngram_hashes` gives."""
    values, offsets = hashes
    return values, np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
