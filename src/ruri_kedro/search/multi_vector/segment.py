"""A segment: the documents that one building or one addition put into an index."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ruri_kedro.search.multi_vector import kernels
from ruri_kedro.search.multi_vector.centroids import Nearest
from ruri_kedro.search.multi_vector.residuals import Codec, Codes
from ruri_kedro.search.multi_vector.spool import DOCUMENTS, Spool
from ruri_kedro.tables.checksums import read_checked, write_checked
from ruri_kedro.tables.files import replace_file

_CODES, _PACKED, _SCALES = "codes.npy", "packed.npy", "scales.npy"
_DOCUMENTS, _STARTS, _LISTED = "documents.parquet", "starts.npy", "listed.npy"
_PROGRESS = "compressed.json"


@dataclass(frozen=True)
class Segment:
    """What stands in a folder, memory-mapped: n documents with t tokens, and the lists of k centroids."""

    folder: Path

    @cached_property
    def docids(self) -> pa.ChunkedArray:
        """Docids, (n,)."""
        return pq.read_table(self.folder / _DOCUMENTS, columns=["docid"])["docid"]

    @cached_property
    def offsets(self) -> np.ndarray:
        """(n + 1,) int64: the tokens of document i are those from offsets[i] to offsets[i + 1]."""
        tokens = pq.read_table(self.folder / _DOCUMENTS, columns=["tokens"])["tokens"].to_numpy()
        return np.concatenate([[0], np.cumsum(tokens, dtype=np.int64)])

    @cached_property
    def stored(self) -> Codes:
        """Their token vectors, (t,)."""
        return Codes(*(self._open(name) for name in (_CODES, _PACKED, _SCALES)))

    @cached_property
    def starts(self) -> np.ndarray:
        """(k + 1,) int64: the documents on the list of centroid c are those from starts[c] to starts[c + 1]."""
        return self._open(_STARTS)

    @cached_property
    def listed(self) -> np.ndarray:
        """The lists, one after the other, int32 numbers of documents, rising in each list."""
        return self._open(_LISTED)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def _open(self, name: str) -> np.ndarray:
        # The same memory map as a plain array, as numba takes it.
        return np.asarray(np.load(self.folder / name, mmap_mode="r", allow_pickle=False))


def write_segment(spool: Spool, folder: Path, codec: Codec, threads: int) -> None:
    """Compress a spool's shards into a segment in `folder`, from the first on that an earlier call has not finished."""
    done = read_checked(folder / _PROGRESS)["shards"] if (folder / _PROGRESS).exists() else 0
    shards = spool.shards()
    if not done:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tokens = sum(shard["tokens"] for shard in shards)
        _create(folder, codec, tokens)
    nearest = Nearest(codec.centroids, threads)
    files = _open_all(folder)
    start = sum(shard["tokens"] for shard in shards[:done])
    for number, shard in enumerate(shards[done:], start=done):
        if not shard["tokens"]:
            continue
        made = codec.compress(spool.vectors(number), nearest)
        for file, values in zip(files, (made.codes, made.packed, made.scales), strict=True):
            file[start : start + shard["tokens"]] = values
            file.flush()
        start += shard["tokens"]
        write_checked(folder / _PROGRESS, {"shards": number + 1})
    _write_documents(spool, len(shards), folder)
    _write_lists(Segment(folder), len(codec.centroids))
    (folder / _PROGRESS).unlink()


def _create(folder: Path, codec: Codec, tokens: int) -> None:
    """Empty files for so many tokens."""
    like = codec.empty(0)
    for name, values in zip((_CODES, _PACKED, _SCALES), (like.codes, like.packed, like.scales), strict=True):
        np.lib.format.open_memmap(folder / name, "w+", values.dtype, (tokens, *values.shape[1:])).flush()


def _open_all(folder: Path) -> list[np.memmap]:
    return [np.load(folder / name, mmap_mode="r+", allow_pickle=False) for name in (_CODES, _PACKED, _SCALES)]


def _write_documents(spool: Spool, shards: int, folder: Path) -> None:
    with replace_file(folder / _DOCUMENTS) as aside, pq.ParquetWriter(aside, DOCUMENTS) as writer:
        for number in range(shards):
            writer.write_table(spool.documents(number))


def _write_lists(segment: Segment, centroids: int) -> None:
    """The documents of each centroid."""
    codes, offsets = segment.stored.codes, segment.offsets
    counts = np.zeros(centroids, dtype=np.int64)
    kernels.count_documents(codes, offsets, counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    listed = np.lib.format.open_memmap(segment.folder / _LISTED, "w+", np.int32, (int(starts[-1]),))
    kernels.list_documents(codes, offsets, starts[:-1].copy(), np.asarray(listed))
    listed.flush()
    np.save(segment.folder / _STARTS, starts, allow_pickle=False)
