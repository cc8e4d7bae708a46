"""Sets of ids as sorted arrays: as many bytes for an id as it has characters, not the hundred of a Python set."""

from collections.abc import Iterable, Sequence

import numpy as np

Ids = np.ndarray  # (n,) bytes, sorted, each once


def distinct_ids(batches: Iterable[Sequence[str]]) -> Ids:
    """The distinct ids, which are ASCII, of batches of them; an empty one is none."""
    found = [np.zeros(0, dtype="S1")]
    for batch in batches:
        found.append(np.unique(np.array(batch, dtype=np.bytes_)))
        while len(found) > 1 and len(found[-1]) >= len(found[-2]):  # as in a merge sort
            last = found.pop()
            found[-1] = np.union1d(found[-1], last)
    merged = np.unique(np.concatenate(found))
    return merged[merged != b""]


def among(ids: Sequence[str], known: Ids) -> np.ndarray:
    """Which of the ids are known, (ids,) of bool."""
    if not len(known) or not len(ids):
        return np.zeros(len(ids), dtype=bool)
    given = np.array(ids, dtype=np.bytes_)
    nearest = np.minimum(np.searchsorted(known, given), len(known) - 1)
    return known[nearest] == given


class IdList(Sequence[str]):
    """Ids as a sequence of strings, in their order."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, place: int) -> str:
        return self._ids[place].decode("ascii")
