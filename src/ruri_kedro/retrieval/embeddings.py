"""Embeddings of a collection on disk: memory-mapped float16 vectors and their docids."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import replace_dir, write_json
from ruri_kedro.tables.store import MANIFEST, is_current

_VECTORS, _DOCIDS = "vectors.npy", "docids.npy"


@dataclass(frozen=True)
class Embeddings:
    """vectors: float16 (n, d), memory-mapped, L2-normalised; docids: n strings, in the same order."""

    vectors: np.ndarray
    docids: list[str]


def build_embeddings(
    documents: Iterable[tuple[str, str]], folder: Path, key: str, encode: Callable[[list[str]], np.ndarray]
) -> None:
    """Encode (docid, text) rows into `folder`, unless what `key` stands for is there already.

    float16 halves the disk; its error of 5e-4 is far below the distance between neighbouring ranks.
    """
    if is_current(folder, key):
        return
    docids, texts = zip(*documents, strict=True)
    with replace_dir(folder) as aside:
        np.save(aside / _VECTORS, encode(list(texts)).astype(np.float16), allow_pickle=False)
        np.save(aside / _DOCIDS, np.array(docids, dtype=np.str_), allow_pickle=False)
        write_json(aside / MANIFEST, {"key": key, "documents": len(docids)})


def load_embeddings(folder: Path) -> Embeddings:
    """What `build_embeddings` wrote; raises DataError if it is not complete."""
    if not (folder / MANIFEST).exists():
        raise DataError(f"{folder}: no embeddings here. Run negative_mining again.")
    vectors = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)
    return Embeddings(vectors, np.load(folder / _DOCIDS, allow_pickle=False).tolist())
