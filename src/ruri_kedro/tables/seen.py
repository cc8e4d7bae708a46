"""Which ids came before: exact deduplication of a stream, in memory that does not grow with it."""

from collections.abc import Sequence
from tempfile import TemporaryFile

import numpy as np

_KIND = "S12"  # the bytes of `text.hashing.stable_id`
_MERGED = 1 << 22  # ids; two sorted runs become one up to this size


class Seen:
    """The ids that were added, as sorted runs in temporary files: 12 bytes for each id."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, ids: Sequence[str]) -> np.ndarray:
        """Add ids of `stable_id`; which of them are new, (ids,) of bool. Of a repetition, the first is."""
        is_new = np.zeros(len(ids), dtype=bool)
        if not len(ids):
            return is_new
        given = np.frombuffer(bytes.fromhex("".join(ids)), dtype=_KIND)
        distinct, places = np.unique(given, return_index=True)
        known = np.zeros(len(distinct), dtype=bool)
        for run in self._runs:
            nearest = np.minimum(np.searchsorted(run, distinct), len(run) - 1)
            known |= run[nearest] == distinct
        is_new[places[~known]] = True
        if not known.all():
            self._keep(distinct[~known])
        return is_new

    def _keep(self, run: np.ndarray) -> None:
        while self._runs and len(self._runs[-1]) <= len(run) and len(run) + len(self._runs[-1]) <= _MERGED:
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        with TemporaryFile() as file:
            stored = np.memmap(file, dtype=_KIND, mode="w+", shape=run.shape)
        stored[:] = run
        self._runs.append(stored)
