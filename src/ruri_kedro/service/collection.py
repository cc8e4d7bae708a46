"""The documents that are searched: a task's, a source's, or those of a file, written once and then mapped from disk."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ruri_kedro.benchmark.tasks.stored import stored_digest, stored_task
from ruri_kedro.benchmark.tasks.types import task_types
from ruri_kedro.corpora.columns import DOCUMENTS
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables import SCHEMAS, Table
from ruri_kedro.tables.checksums import is_current, write_manifest
from ruri_kedro.tables.files import replace_dir
from ruri_kedro.tables.formats import read_records
from ruri_kedro.tables.lookup import iter_texts
from ruri_kedro.tables.raw import check_text, read_rows
from ruri_kedro.tables.store import file_digest, key_of
from ruri_kedro.text.normalize import normalize
from ruri_kedro.text.prompts import passage_text

_TEXTS, _DOCIDS, _ROWS = "documents.arrow", "docids.npy", "rows.npy"
_SCHEMA = pa.schema([("docid", pa.string()), ("text", pa.string())])
_BLOCK = 4096
_ID_COLUMNS = ("docid", "id", "_id", "doc_id")

Rows = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Found:
    """A collection before it is read: its name, a digest of all that its rows depend on, and the rows."""

    name: str
    digest: str
    rows: Any  # () -> Rows


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


def find_collection(reference: str | None, params: Mapping[str, Any], test_sets: Path | None, passages: Path) -> Found:
    """The collection that `reference` names: a task of the recipe, a source, or a file.

    None: the first task of retrieval that is there, else the first source that is a collection. Raises RecipeError for
    a name that is none of them, DataError where a task or source has not been made.
    """
    tasks, sources = params.get("tasks") or {}, params.get("sources") or {}
    if reference is None:
        named = [name for name, row in tasks.items() if _has_collection(row)]
        named += [name for name, row in sources.items() if row.get("kind") == "collection"]
        if not named:
            raise RecipeError("the recipe has no collection. Name a file: --collection FILE")
        reference = named[0]
    if reference in tasks:
        return _of_task(reference, tasks[reference], test_sets)
    if reference in sources:
        return _of_source(reference, Table(passages, SCHEMAS["passages"]))
    if Path(reference).is_file():
        return _of_file(Path(reference))
    names = [name for name, row in tasks.items() if _has_collection(row)] + list(sources)
    raise RecipeError(
        f"--collection {reference}: no task or source of the recipe has this name, and there is no such file. "
        f"The recipe has: {', '.join(names) or 'none'}."
    )


def _has_collection(row: Mapping[str, Any]) -> bool:
    kind = task_types().get(row.get("type"))
    return kind is not None and kind.search is not None and kind.search.collection


def _of_task(name: str, row: Mapping[str, Any], test_sets: Path | None) -> Found:
    if not _has_collection(row):
        raise RecipeError(f"--collection {name}: this task is of the type {row.get('type')}, which has no collection.")
    if test_sets is None or not (test_sets / name).is_dir():
        raise DataError(
            f"--collection {name}: the task is not read yet. Run: kedro run --pipelines data_engineering "
            "--nodes read_tasks"
        )
    return Found(name, stored_digest(test_sets, name), lambda: stored_task(test_sets, name).corpus.items())


def _of_source(name: str, passages: Table) -> Found:
    if name not in passages.parts():
        raise DataError(
            f"--collection {name}: the source has no passages yet. Run: kedro run --pipelines data_engineering"
        )
    return Found(name, passages.digest([name]), lambda: iter_texts(passages, [name]))


def _of_file(path: Path) -> Found:
    return Found(path.name, key_of(file=file_digest(path), name=path.suffix), lambda: _file_rows(path))


def _file_rows(path: Path) -> Iterator[tuple[str, str]]:
    """(docid, text) of a file; a title stands in front of its text, rows without a docid have their number as one."""
    _, first = next(read_records(path), (0, None))
    if first is None:
        raise DataError(f"{path}: the file has no rows. Name one that has some.")
    text = _column(first, DOCUMENTS["text"])
    if text is None:
        raise DataError(
            f"{path}: no column is the text. There are: {', '.join(first)}. "
            f"Call it one of {', '.join(DOCUMENTS['text'])}."
        )
    title, docid = _column(first, DOCUMENTS["title"]), _column(first, _ID_COLUMNS)
    fields = {text: str} | ({title: (str, type(None))} if title else {}) | ({docid: (str, int)} if docid else {})
    for number, row in read_rows(path, fields, unique=docid, nonempty=(text,)):
        head = normalize(row[title] or "") if title else ""
        name = str(row[docid]) if docid else str(number)
        if docid:
            check_text(path, number, docid, name)
        yield name, passage_text(head, "", normalize(row[text]))


def _column(row: Mapping[str, Any], usual: Sequence[str]) -> str | None:
    folded = {column.strip().casefold(): column for column in row}
    return next((folded[name] for name in usual if name in folded), None)


def open_collection(found: Found, root: Path) -> Documents:
    """The documents of a collection below `root`, in a folder by its digest; read if they are not there yet.

    Raises DataError for a collection without documents, and for docids that recur or hold spaces.
    """
    folder = root / found.digest / "documents"
    if not is_current(folder, found.digest, sizes_only=True):
        with replace_dir(folder) as aside:
            _write(found, aside)
            write_manifest(aside, {"key": found.digest})
    return Documents(found.name, found.digest, folder)


def _write(found: Found, folder: Path) -> None:
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
