"""The documents that a name stands for, the same for every command: those of a task, of a source, or of files."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.tasks.specs import NULLABLE, read_id
from ruri_kedro.benchmark.tasks.stored import stored_digest, stored_task
from ruri_kedro.benchmark.tasks.types import is_searched, task_types
from ruri_kedro.corpora.columns import DOCUMENTS
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables import SCHEMAS, Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.formats import read_records
from ruri_kedro.tables.lookup import iter_texts
from ruri_kedro.tables.raw import raw_files, read_rows
from ruri_kedro.tables.store import file_digest, key_of
from ruri_kedro.text.normalize import normalize
from ruri_kedro.text.prompts import passage_text

_COLUMNS = {**DOCUMENTS, "docid": ("docid", "doc_id", "id", "_id")}
_SIGNS = "*?["  # of a pattern

Columns = Mapping[str, str]  # of _COLUMNS those that a file has, and what they are called there


@dataclass(frozen=True)
class Collection:
    """Documents that have a name, before they are read."""

    name: str
    digest: str  # of all that `rows` depends on
    rows: Callable[[], Iterable[tuple[str, str]]]  # (docid, text), in the same order each time
    queries: Callable[[], list[str]] = list  # that are known for them
    remark: str | None = None  # what the user is to know of the docids


def find_collection(
    reference: str | None, params: Mapping[str, Any], folders: Callable[[], tuple[Path | None, Path]]
) -> Collection:
    """The collection that `reference` names: a searched task of the recipe, else a source, else files.

    Files are a file, all of a folder, or a pattern. None: the first task of retrieval, else the first source of the
    kind `collection`. `folders` gives those of stored tasks and of passages; nobody asks for them where files are
    meant. Raises RecipeError for a name that is none of these, and for one that the recipe and a file have; DataError
    where a task or source has not been read, and for a file without rows or texts.
    """
    tasks, sources = params.get("tasks") or {}, params.get("sources") or {}
    name = _first(tasks, sources) if reference is None else reference
    kind = "task" if is_searched((tasks.get(name) or {}).get("type")) else "source" if name in sources else None
    if reference is not None and (Path(reference).exists() or any(sign in reference for sign in _SIGNS)):
        if kind is not None:
            raise RecipeError(
                f"collection '{name}': a {kind} of the recipe and a file have this name. For the file write "
                f"./{name}, for the {kind} rename the file."
            )
        return _of_files(reference)
    if kind == "task":
        return _of_task(name, folders()[0])
    if kind == "source":
        return _of_source(name, Table(folders()[1], SCHEMAS["passages"]))
    if name in tasks:
        raise RecipeError(f"collection '{name}': this task is of the type {tasks[name]['type']}, without documents.")
    names = [*(each for each, row in tasks.items() if is_searched(row.get("type"))), *sources]
    raise RecipeError(
        f"collection '{name}': no task or source of the recipe has this name, and there is no such file. "
        f"The recipe has: {', '.join(dict.fromkeys(names)) or 'none'}."
    )


def _first(tasks: Mapping[str, Any], sources: Mapping[str, Any]) -> str:
    types = task_types()
    for name, row in tasks.items():
        kind = types.get(row.get("type"))
        if kind is not None and kind.search is not None and kind.search.collection:
            return name
    for name, row in sources.items():
        if row.get("kind") == "collection":
            return name
    raise RecipeError("the recipe has no collection. Name a file: --collection FILE")


def _of_task(name: str, test_sets: Path | None) -> Collection:
    if test_sets is None or not (test_sets / name).is_dir():
        raise DataError(
            f"collection '{name}': the task is not read yet. Run: kedro run --pipelines data_engineering "
            "--nodes read_tasks"
        )
    return Collection(
        name,
        stored_digest(test_sets, name),
        lambda: stored_task(test_sets, name).corpus.items(),
        lambda: [*stored_task(test_sets, name).queries.values()],
    )


def _of_source(name: str, passages: Table) -> Collection:
    if name not in passages.parts():
        raise DataError(
            f"collection '{name}': the source has no passages yet. Run: kedro run --pipelines data_engineering"
        )
    return Collection(name, passages.digest([name]), lambda: iter_texts(passages, [name]))


def _of_files(reference: str) -> Collection:
    root = Path(Path(reference).anchor)
    files = raw_files(root, str(Path(reference).relative_to(root)) if root.is_absolute() else reference)
    columns = {file: _columns(file) for file in files}
    name, bare = _name(reference), [file for file in files if "docid" not in columns[file]]
    if bare and len(bare) < len(files):
        raise DataError(
            f"{bare[0]}: no column 'docid', but others of '{name}' have one. Give each of them one, or none."
        )
    remark = f"{name}: no column 'docid', so documents are called by their numbers, from 0." if bare else None
    read = [(file_digest(file), "".join(file.suffixes)) for file in files]
    digest = key_of(files=read, code=behaviour_digest(_documents))
    return Collection(name, digest, lambda: _documents(columns), remark=remark)


def _name(reference: str) -> str:
    """The name of a file or folder; of a pattern that of the folder in which it is looked for."""
    path = Path(reference)
    if not path.exists():
        path = Path(*takewhile(lambda part: not any(sign in part for sign in _SIGNS), path.parts))
    return Path(os.path.abspath(path)).name


def _columns(file: Path) -> Columns:
    """The columns of a file, by the names in its first row."""
    _, first = next(read_records(file), (0, None))
    if first is None:
        raise DataError(f"{file}: the file has no rows. Name one that has some.")
    folded = {column.strip().casefold(): column for column in first}
    usual = ((name, next((folded[each] for each in names if each in folded), None)) for name, names in _COLUMNS.items())
    found = {name: column for name, column in usual if column is not None}
    if "text" not in found:
        raise DataError(
            f"{file}: no column is the text. There are: {', '.join(first)}. "
            f"Call it one of {', '.join(DOCUMENTS['text'])}."
        )
    return found


def _documents(files: Mapping[Path, Columns]) -> Iterator[tuple[str, str]]:
    """(docid, text) of the rows of files, normalised, a title in front; rows without docids are numbered from 0."""
    seen: set[str] = set()
    number = 0
    for file, columns in files.items():
        text, title, docid = columns["text"], columns.get("title"), columns.get("docid")
        fields = {text: str} | ({title: NULLABLE} if title else {}) | ({docid: (str, int)} if docid else {})
        for line, row in read_rows(file, fields, nonempty=(text,)):
            if docid:
                key = read_id(f"{file}, row {line}", docid, row[docid])
                if key in seen:
                    raise DataError(f"{file}, row {line}, field '{docid}': '{key}' occurs twice. Ids are unique.")
                seen.add(key)
            else:
                key = str(number)
            number += 1
            yield key, passage_text(normalize(row[title] or "") if title else "", "", normalize(row[text]))
