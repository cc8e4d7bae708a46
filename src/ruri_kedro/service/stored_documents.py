"""The documents that are searched, written once and then mapped from disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from ruri_kedro.benchmark.collection import Collection
from ruri_kedro.errors import DataError
from ruri_kedro.tables.checksums import is_current, write_manifest
from ruri_kedro.tables.files import replace_dir

_TEXTS, _DOCIDS, _ROWS = "documents.arrow", "docids.npy", "rows.npy"
_SCHEMA = pa.schema([("docid", pa.string()), ("text", pa.string())])
_BLOCK = 4096


@dataclass(frozen=True)
class Documents:
    """(docid, text) in a folder, in their order; nothing is in memory before it is asked for."""

    name: str
    digest: str
    folder: Path

    @cached_property
    def _table(self) -> pa.Table:
        return pa.ipc.open_file(pa.memory_map(str(self.folder / _TEXTS))).read_all()

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.load(self.folder / name, mmap_mode="r", allow_pickle=False) for name in (_DOCIDS, _ROWS))

    def __len__(self) -> int:
        return self._table.num_rows

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """All of them, one block in memory at a time."""
        for batch in self._table.to_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def docids(self, rows: np.ndarray) -> list[str]:
        """Docids of rows (n,)."""
        return self._table["docid"].take(pa.array(rows)).to_pylist()

    def text(self, docid: str) -> str | None:
        """The text of a document; None if there is no such document."""
        docids, rows = self._sorted
        wanted = docid.encode("utf-8", "replace")
        place = int(np.searchsorted(docids, np.bytes_(wanted)))
        if place == len(docids) or docids[place] != wanted:
            return None
        return self._table["text"][int(rows[place])].as_py()


def open_collection(found: Collection, root: Path) -> Documents:
    """The documents of a collection below `root`, in a folder by its digest; read if they are not there yet.

    Raises DataError for a collection without documents, and for docids that recur or hold spaces.
    """
    folder = root / found.digest / "documents"
    if not is_current(folder, found.digest, sizes_only=True):
        with replace_dir(folder) as aside:
            _write(found, aside)
            write_manifest(aside, {"key": found.digest})
    return Documents(found.name, found.digest, folder)


def _write(found: Collection, folder: Path) -> None:
    docids: list[bytes] = []
    with pa.OSFile(str(folder / _TEXTS), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        block: list[tuple[str, str]] = []
        for docid, text in found.rows():
            if len(docid.split()) != 1:
                raise DataError(
                    f"{found.name}: the docid '{docid[:80]}' holds a space, which TREC's files cannot have."
                )
            docids.append(docid.encode("utf-8"))
            block.append((docid, text))
            if len(block) == _BLOCK:
                writer.write_batch(_batch(block))
                block = []
        if block:
            writer.write_batch(_batch(block))
    if not docids:
        raise DataError(f"{found.name}: the collection has no document. Name another one.")
    names = np.array(docids, dtype=np.bytes_)
    order = np.argsort(names, kind="stable")
    if (twice := np.flatnonzero(names[order][1:] == names[order][:-1])).size:
        raise DataError(f"{found.name}: the docid '{names[order][twice[0]].decode()}' occurs twice. Docids are unique.")
    np.save(folder / _DOCIDS, names[order], allow_pickle=False)
    np.save(folder / _ROWS, order.astype(np.int64), allow_pickle=False)


def _batch(rows: list[tuple[str, str]]) -> pa.RecordBatch:
    columns = [pa.array(column, type=pa.string()) for column in zip(*rows, strict=True)]
    return pa.record_batch(columns, schema=_SCHEMA)
