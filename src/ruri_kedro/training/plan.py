"""Which rows make which batch: a function of the data, the parameters and the seed, and of nothing else."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from ruri_kedro.tables.checksums import is_current, write_manifest
from ruri_kedro.tables.files import replace_dir
from ruri_kedro.text.hashing import digest_all

# Of texts that recur without end a batch takes one row, and the others wait: no more of them are tried at a time.
_TRIED = 65_536
_TRIED_AT_ONCE = 1024  # a matter of speed, where batches are small

_DROPPED = np.dtype([("epoch", np.int32), ("group", np.int32), ("row", np.int64), ("repeats", np.bool_)])


@dataclass(frozen=True)
class Batch:
    """Rows of one batch and the group (source) they come from; group -1 where sources are mixed."""

    group: int
    rows: np.ndarray  # int64, (batch size,)
    negatives: np.ndarray | None = None  # int64, (batch size,), the drawn ones by number, -1: none; None: all

    def columns(self, values: np.ndarray, first: int) -> np.ndarray:
        """The batch's part of `values` (rows, c), whose negatives begin at column `first`; -1 where a row has none."""
        chosen = values[self.rows]
        if self.negatives is None:
            return chosen
        drawn = chosen[np.arange(len(chosen)), first + self.negatives.clip(min=0)] if first < values.shape[1] else -1
        return np.column_stack([chosen[:, :first], np.where(self.negatives < 0, -1, drawn)])


@dataclass(frozen=True, eq=False)
class Plan(Sequence[Batch]):
    """All batches of a training in their order, each at the same cost, and the rows that are in none."""

    rows: np.ndarray  # int32 or int64, one batch after the other
    batches: np.ndarray  # int64 (batches, 3): group, place of the first row in `rows`, size
    dropped: np.ndarray  # (rows,): epoch from 1, group, row, and whether it repeats a text or the last batch was small
    negatives: np.ndarray | None = None  # int16, as long as `rows`: of each the number of its drawn negative; None: all

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        group, start, size = self.batches[index].tolist()
        place = slice(start, start + size)
        drawn = None if self.negatives is None else self.negatives[place].astype(np.int64)
        return Batch(group, self.rows[place].astype(np.int64), drawn)

    def dropped_by_group(self) -> dict[int, int]:
        """How many rows are in no batch, summed over epochs."""
        found, counts = np.unique(self.dropped["group"], return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))

    def digest(self) -> str:
        """Of the rows of all batches in their order, and of what was drawn."""
        drawn = () if self.negatives is None else (self.negatives,)
        parts = (np.ascontiguousarray(values) for values in (self.rows, self.batches, *drawn))
        return digest_all(hashlib.sha256(part).hexdigest() for part in parts)

    def save(self, folder: Path, key: str) -> None:
        """Write the plan to a folder, whole or not at all; `key` says what it was made of."""
        with replace_dir(folder) as aside:
            for name in ("rows", "batches", "dropped", "negatives"):
                if getattr(self, name) is not None:
                    np.save(aside / f"{name}.npy", getattr(self, name))
            write_manifest(aside, {"key": key})

    @staticmethod
    def open(folder: Path) -> "Plan":
        """A saved plan; its rows stay on disk."""
        drawn = folder / "negatives.npy"
        return Plan(
            np.load(folder / "rows.npy", mmap_mode="r"),
            np.load(folder / "batches.npy"),
            np.load(folder / "dropped.npy"),
            np.load(drawn, mmap_mode="r") if drawn.is_file() else None,
        )

    def first(self, examples: int) -> "Plan":
        """The plan of its first batches that have at most so many rows together."""
        batches = self.batches[np.cumsum(self.batches[:, 2]) <= examples].copy()
        sizes = batches[:, 2]
        starts = np.cumsum(sizes) - sizes
        places = np.repeat(batches[:, 1] - starts, sizes) + np.arange(sizes.sum())
        batches[:, 1] = starts
        drawn = None if self.negatives is None else self.negatives[places]
        return Plan(self.rows[places], batches, self.dropped, drawn)


def stored_plan(folder: Path, key: str, make: Callable[[], Plan]) -> Plan:
    """The plan saved in `folder` under `key`; if there is none, or it is damaged, the one that `make` gives, saved.

    So a training that is continued at any of its steps opens its plan and does not make it again.
    """
    if not is_current(folder, key):
        make().save(folder, key)
    return Plan.open(folder)


def plan_batches(
    groups: np.ndarray,
    texts: np.ndarray,
    batch_size: int,
    epochs: int,
    homogeneous: bool,
    seed: int,
    distinct: Sequence[bool] | None = None,
    max_examples: int | None = None,
    draw_one: bool = False,
    topics: np.ndarray | None = None,
) -> Plan:
    """Batches of `batch_size` rows, every row at most once per epoch, in a `distinct` group no text twice in a batch.

    groups: (rows,) source of each row, from 0; texts: (rows, k) text identities of its anchor, positive and negatives,
    -1 for none; distinct: by group, all of them by default. With `homogeneous`, rows of one source share a batch
    (Ruri, Section 2.4); else one distinct group makes all of them so. The batches of a group are smaller where it has
    fewer rows, or repeats its texts so often that most rows would be in no batch. Rows that fit nowhere and
    incomplete last batches are dropped and listed.

    With `max_examples` there are as many epochs as it takes, and the batches end before their rows are more. With
    `draw_one` an epoch has of the rows of a group with the same anchor one, and of its negatives one. With `topics`,
    a number for each row, rows of a topic stand in the same batches, and topics in an order that is drawn (TAS-B,
    arXiv 2104.06967, where topics are clusters of queries).
    """
    rng = np.random.default_rng(seed)
    kind = np.int32 if len(groups) < 2**31 else np.int64
    labels = range(int(groups.max(initial=-1)) + 1) if homogeneous else [-1]
    distinct = [True] * len(labels) if distinct is None else distinct if homogeneous else [any(distinct)]
    rows, batches, dropped = [np.empty(0, kind)], [np.empty((0, 3), np.int64)], [np.empty(0, _DROPPED)]
    negatives = [np.empty(0, np.int16)]
    start = 0
    for epoch in count(1) if max_examples else range(1, epochs + 1):
        made: list[tuple[int, int, int]] = []
        began = start
        drawn = _drawn_negatives(texts, rng) if draw_one else None
        used = texts if drawn is None else _with_drawn(texts, drawn)
        for group in labels:
            members = np.flatnonzero(groups == group) if homogeneous else np.arange(len(groups))
            if not len(members):
                continue
            order = rng.permutation(members.astype(kind))
            if draw_one:
                order = rng.permutation(_one_of_each(order, groups, texts))
            if topics is not None:
                order = _by_topic(order, topics, rng)
            filled, size = _fill_most(order, used, batch_size) if distinct[group] else _cut(order, batch_size)
            made += [(group, start + place, size) for place in range(0, len(filled.rows), size)]
            start += len(filled.rows)
            rows.append(filled.rows)
            if drawn is not None:
                negatives.append(drawn[filled.rows])
            dropped.append(_listed(epoch, group, filled))
        batches.append(np.array(made, np.int64).reshape(-1, 3)[rng.permutation(len(made))])
        if max_examples and (start >= max_examples or start == began):
            break
    chosen = np.concatenate(negatives) if draw_one else None
    plan = Plan(np.concatenate(rows), np.concatenate(batches), np.concatenate(dropped), chosen)
    return plan.first(max_examples) if max_examples else plan


def _one_of_each(rows: np.ndarray, groups: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Of the rows of a group with the same anchor the first one."""
    _, first = np.unique(np.column_stack([groups[rows], texts[rows, 0]]), axis=0, return_index=True)
    return rows[first]


def _by_topic(rows: np.ndarray, topics: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rows with those of a topic one behind the other, which keep their order; that of the topics is drawn."""
    _, numbers = np.unique(topics[rows], return_inverse=True)
    return rows[np.argsort(rng.permutation(numbers.max(initial=-1) + 1)[numbers], kind="stable")]


def _drawn_negatives(texts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the negatives of each row, int16 (rows,), counted from 0; -1 where it has none."""
    counts = (texts[:, 2:] >= 0).sum(axis=1)
    return np.where(counts > 0, (rng.random(len(texts)) * counts).astype(np.int16), -1).astype(np.int16)


def _with_drawn(texts: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The texts of each row with the drawn negative in place of all."""
    every = np.arange(len(texts))
    return Batch(-1, every, drawn.astype(np.int64)).columns(texts, 2)


@dataclass(frozen=True)
class _Filled:
    """Rows of one group."""

    rows: np.ndarray  # of full batches, one after the other
    incomplete: np.ndarray  # of the last one, which is not full
    repeating: np.ndarray  # that fitted nowhere


def _listed(epoch: int, group: int, filled: _Filled) -> np.ndarray:
    left = np.empty(len(filled.incomplete) + len(filled.repeating), _DROPPED)
    left["epoch"], left["group"] = epoch, group
    left["row"] = np.concatenate([filled.incomplete, filled.repeating])
    left["repeats"] = np.arange(len(left)) >= len(filled.incomplete)
    return left


def _cut(rows: np.ndarray, batch_size: int) -> tuple[_Filled, int]:
    """Rows in their order into batches, whatever their texts; also the size of these."""
    size = min(batch_size, len(rows))
    used = len(rows) // size * size
    return _Filled(rows[:used], rows[used:], rows[:0]), size


def _fill_most(rows: np.ndarray, texts: np.ndarray, batch_size: int) -> tuple[_Filled, int]:
    """Batches of the largest size at which at least half of the rows are in one; also that size.

    Where no text repeats more than half of them always are, so smaller sizes are tried only where many do.
    """
    size = min(batch_size, len(rows))
    while size > 1:
        filled = _fill(rows, texts, size)
        if 2 * len(filled.rows) >= len(rows):
            return filled, size
        # If not even one batch is full, none can be larger than what the first one got.
        size = size // 2 if len(filled.rows) else len(filled.incomplete)
    # A row alone has no negatives but its own.
    alone = (texts[rows, 2:] >= 0).any(axis=1)
    return _Filled(rows[alone], rows[:0], rows[~alone]), 1


def _fill(rows: np.ndarray, texts: np.ndarray, size: int) -> _Filled:
    """Rows in their order into batches; one that repeats a text of the batch waits for the next."""
    full: list[np.ndarray] = []
    waiting = rows[:0]
    at = 0
    while True:
        batch = _OpenBatch(texts, size, rows.dtype)
        waiting, untried = batch.add(waiting[:_TRIED]), waiting[_TRIED:]
        # Who was tried in vain goes behind those who were not, unless all had their turn.
        waiting = np.concatenate([untried, waiting] if batch.room else [waiting, untried])
        while batch.room and at < len(rows):
            stop = min(at + batch.room, len(rows))
            waiting = np.concatenate([waiting, batch.add(rows[at:stop])])
            at = stop
        if batch.room and len(untried):
            waiting = batch.add(waiting)
        if batch.room:
            return _Filled(np.concatenate([rows[:0], *full]), batch.rows(), waiting)
        full.append(batch.rows())


class _OpenBatch:
    """A batch that takes rows as long as they repeat none of its texts."""

    def __init__(self, texts: np.ndarray, size: int, kind: np.dtype) -> None:
        self._texts = texts
        self._size = size
        self._parts = [np.empty(0, kind)]
        self._seen = np.empty(0, texts.dtype)  # sorted
        self.room = size

    def rows(self) -> np.ndarray:
        """The rows taken so far."""
        return np.concatenate(self._parts)

    def add(self, rows: np.ndarray) -> np.ndarray:
        """Take what fits of the rows, first come first served; the rest of them in their order."""
        refused = [rows[:0]]
        step = max(self._size, _TRIED_AT_ONCE)
        for start in range(0, len(rows), step):
            if not self.room:
                refused.append(rows[start:])
                break
            part = rows[start : start + step]
            texts = self._texts[part]
            taken = np.flatnonzero(_fitting(texts, self._seen))[: self.room]
            self._parts.append(part[taken])
            self.room -= len(taken)
            self._seen = np.sort(np.concatenate([self._seen, _present(texts[taken])]))
            refused.append(np.delete(part, taken))
        return np.concatenate(refused)


def _fitting(texts: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Which rows of `texts` repeat none of `seen` and none of an earlier row that fits; (rows,) bool."""
    fits = ~_among(texts, seen).any(axis=1)
    present = np.sort(_present(texts[fits]))
    repeated = np.unique(present[1:][present[1:] == present[:-1]])
    # All others are alone in having their texts: only these must be looked at one after the other.
    contested = np.flatnonzero(fits & _among(texts, repeated).any(axis=1))
    taken: set[int] = set()
    for row, own in zip(contested.tolist(), texts[contested].tolist(), strict=True):
        own_texts = {text for text in own if text >= 0}
        fits[row] = taken.isdisjoint(own_texts)
        if fits[row]:
            taken |= own_texts
    return fits


def _present(texts: np.ndarray) -> np.ndarray:
    """The texts that are there, flat."""
    return texts[texts >= 0]


def _among(texts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether each text is one of `values`, sorted."""
    if not len(values):
        return np.zeros(texts.shape, dtype=bool)
    return values[np.searchsorted(values, texts).clip(max=len(values) - 1)] == texts


def token_share(lengths: Sequence[int], budget: int) -> list[slice]:
    """Consecutive slices of items whose lengths add up to at most `budget`; a longer item stands alone."""
    slices: list[slice] = []
    start = total = 0
    for position, length in enumerate(lengths):
        if position > start and total + length > budget:
            slices.append(slice(start, position))
            start, total = position, 0
        total += int(length)
    return [*slices, slice(start, len(lengths))] if len(lengths) else slices
