"""Which rows make which batch: a function of the data, the parameters and the seed, and of nothing else."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Batch:
    """Rows of one batch and the group (source) they come from; group -1 where sources are mixed."""

    group: int
    rows: np.ndarray  # int64, (batch size,)


@dataclass(frozen=True)
class Plan:
    """All batches of a training in their order, and the rows that fitted in none, by group and summed over epochs."""

    batches: list[Batch]
    dropped: dict[int, int]


def plan_batches(
    groups: np.ndarray, texts: np.ndarray, batch_size: int, epochs: int, homogeneous: bool, seed: int
) -> Plan:
    """Batches of exactly `batch_size` rows in which no text occurs twice, every row at most once per epoch.

    groups: (rows,) source of each row; texts: (rows, k) text identities of its anchor, positive and negatives, -1
    for none. With `homogeneous`, rows of one source share a batch (Ruri, Section 2.4). A group smaller than a
    batch makes one batch of its own size. Rows that fit nowhere and incomplete last batches are dropped and counted.
    """
    rng = np.random.default_rng(seed)
    labels = groups if homogeneous else np.full_like(groups, -1)
    batches: list[Batch] = []
    dropped: dict[int, int] = {}
    for _ in range(epochs):
        epoch: list[Batch] = []
        for group in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == group))
            full, left = _fill(rows, texts, min(batch_size, len(rows)))
            epoch.extend(Batch(int(group), batch) for batch in full)
            dropped[int(group)] = dropped.get(int(group), 0) + left
        batches.extend(epoch[i] for i in rng.permutation(len(epoch)))
    return Plan(batches, dropped)


def _fill(rows: np.ndarray, texts: np.ndarray, size: int) -> tuple[list[np.ndarray], int]:
    """Rows in their order into batches; one that repeats a text of the batch waits for the next."""
    batches: list[np.ndarray] = []
    waiting: deque[int] = deque()
    stream = iter(rows)
    while True:
        batch: list[int] = []
        seen: set[int] = set()
        for _ in range(len(waiting)):
            _take(waiting.popleft(), texts, size, batch, seen, waiting)
        while len(batch) < size and (row := next(stream, None)) is not None:
            _take(int(row), texts, size, batch, seen, waiting)
        if len(batch) < size:
            return batches, len(batch) + len(waiting)
        batches.append(np.asarray(batch, dtype=np.int64))


def _take(row: int, texts: np.ndarray, size: int, batch: list[int], seen: set[int], waiting: deque[int]) -> None:
    own = {int(text) for text in texts[row] if text >= 0}
    if len(batch) < size and seen.isdisjoint(own):
        batch.append(row)
        seen |= own
    else:
        waiting.append(row)


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
