"""Vectors on disk by the digest of what was encoded: the same text is encoded once, by whichever task it comes."""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ruri_kedro.tables.checksums import fault_of, write_manifest
from ruri_kedro.tables.files import remove_leftover_dirs, replace_dir
from ruri_kedro.text.hashing import stable_id

logger = logging.getLogger(__name__)

_KEYS, _VECTORS = "keys.npy", "vectors.npy"


def text_keys(texts: Sequence[str], max_length: int) -> np.ndarray:
    """uint64 (texts,): digests of texts as a model reads them, cut to `max_length` tokens.

    With 64 bits the chance of one collision among 10^7 texts is below 10^-5.
    """
    salt = max_length.to_bytes(8, "little")
    digests = b"".join(hashlib.blake2b(text.encode("utf-8"), digest_size=8, salt=salt).digest() for text in texts)
    return np.frombuffer(digests, dtype=np.uint64)


class VectorStore:
    """Blocks of float32 vectors in a folder, each written whole; what is in one is never written again.

    A block that is damaged, or that 0.1 wrote, is removed: what was in it is encoded again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        remove_leftover_dirs(self._folder)
        self._blocks = [path for path in sorted(self._folder.glob("[!.]*")) if _is_sound(path)]
        keys = [np.load(block / _KEYS, allow_pickle=False) for block in self._blocks]
        places = [_places(number, len(held)) for number, held in enumerate(keys)]
        self._keys = np.concatenate([np.zeros(0, np.uint64), *keys])
        self._places = np.concatenate([np.zeros((0, 2), np.int32), *places])
        self._sort()

    def missing(self, keys: np.ndarray) -> np.ndarray:
        """Positions of the first occurrence of each key that is not here, ascending."""
        distinct, first = np.unique(keys, return_index=True)
        # `isin` would sort all that is held for each call.
        left, right = (np.searchsorted(self._keys, distinct, side=side) for side in ("left", "right"))
        return np.sort(first[left == right])

    def add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Write a block of vectors (keys, dimension); the keys are distinct and not here yet."""
        number = len(self._blocks)
        # Named by what is in it: of two processes that write here none takes the other's name for other vectors.
        target = self._folder / f"block-{stable_id(keys.tobytes().hex())}"
        with replace_dir(target) as aside:
            np.save(aside / _VECTORS, vectors.astype(np.float32, copy=False), allow_pickle=False)
            np.save(aside / _KEYS, keys, allow_pickle=False)
            write_manifest(aside, {"texts": len(keys)})
        self._blocks.append(target)
        self._keys = np.concatenate([self._keys, keys])
        self._places = np.concatenate([self._places, _places(number, len(keys))])
        self._sort()

    def get(self, keys: np.ndarray) -> np.ndarray:
        """float32 (keys, dimension); all keys must be here."""
        places = self._places[np.searchsorted(self._keys, keys)]
        blocks = {number: self._block(number) for number in np.unique(places[:, 0]).tolist()}
        width = next(iter(blocks.values())).shape[1] if blocks else 0
        out = np.empty((len(keys), width), dtype=np.float32)
        for number, vectors in blocks.items():
            rows = np.flatnonzero(places[:, 0] == number)
            out[rows] = vectors[places[rows, 1]]
        return out

    def _block(self, number: int) -> np.ndarray:
        return np.load(self._blocks[number] / _VECTORS, mmap_mode="r", allow_pickle=False)

    def _sort(self) -> None:
        order = np.argsort(self._keys, kind="stable")
        self._keys, self._places = self._keys[order], self._places[order]


def _is_sound(block: Path) -> bool:
    """Whether a block is as it was written; one that is not is removed."""
    fault = fault_of(block)
    if fault is not None:
        logger.warning("%s. Its texts are encoded again.", fault)
        shutil.rmtree(block, ignore_errors=True)
    return fault is None


def _places(block: int, rows: int) -> np.ndarray:
    """int32 (rows, 2): block and row of each vector of a block."""
    return np.stack([np.full(rows, block, np.int32), np.arange(rows, dtype=np.int32)], axis=1)
