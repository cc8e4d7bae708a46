"""Tasks as they are evaluated, read from their raw files once: Parquet tables in a folder, with a manifest.

What depends on a task is known by its digest, so nobody loads a task to find that its scores are there.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from ruri_kedro.benchmark.tasks.load import (
    ClassificationTask,
    ClusteringTask,
    MultilabelTask,
    RerankingTask,
    RetrievalTask,
    Task,
    load_task,
)
from ruri_kedro.tables.checksums import facts_of, is_current, write_manifest
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import replace_dir
from ruri_kedro.tables.raw import raw_files
from ruri_kedro.tables.store import digest_rows, file_digest, key_of
from ruri_kedro.text.hashing import digest_all, digest_json

_TYPES = {kind.__name__: kind for kind in get_args(Task)}
_FILES = ("path", "train")

# ({id, revision, ...} of a data set on the hub, file) -> None: its rows as JSON Lines.
Fetch = Callable[[Mapping[str, Any], Path], None]


def store_task(name: str, spec: Mapping[str, Any], raw_root: Path, folder: Path, fetch: Fetch) -> None:
    """Read a task into `folder`, unless it is there for the same files, data sets and parameters.

    Where a row has `hub: {id, revision, name, split}` in place of a path, `fetch` gets the data set.
    """
    if task_is_stored(name, spec, raw_root, folder):
        return
    with tempfile.TemporaryDirectory() as fetched:
        task = load_task(name, _on_disk(spec, fetch, Path(fetched)), raw_root)
    tables = _tables(task)
    with replace_dir(folder) as aside:
        for part, table in tables.items():
            pq.write_table(table, aside / f"{part}.parquet", compression="zstd")
        facts = {
            "key": _key(name, spec, raw_root),
            "task": type(task).__name__,
            "digest": digest_all([type(task).__name__, *map(digest_rows, tables.values())]),
            "rows": {part: table.num_rows for part, table in tables.items()},
        }
        write_manifest(aside, facts)


def task_is_stored(name: str, spec: Mapping[str, Any], raw_root: Path, folder: Path) -> bool:
    """Whether the task in `folder` is the one that `spec` describes."""
    return is_current(folder, _key(name, spec, raw_root))


def hub_rows(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The data sets on the hub that a task's row names, at any depth."""
    nested = [row for value in spec.values() if isinstance(value, Mapping) for row in hub_rows(value)]
    return [spec["hub"], *(row for row in nested if row is not spec["hub"])] if "hub" in spec else nested


def stored_task(folder: Path, name: str) -> Task:
    """The task `name` of a folder of stored tasks."""
    kind = _TYPES[facts_of(folder / name)["task"]]
    tables = {path.stem: pq.read_table(path) for path in (folder / name).glob("*.parquet")}
    if issubclass(kind, RetrievalTask):
        parts = [_texts(tables["queries"]), _texts(tables["corpus"]), _judgments(tables["qrels"])]
        if kind is RerankingTask:
            parts.append({row["qid"]: tuple(row["docids"]) for row in tables["candidates"].to_pylist()})
        return kind(name, *parts)
    columns = {column: table[column].to_pylist() for table in tables.values() for column in table.column_names}
    return kind(name, **{column: tuple(map(_frozen, values)) for column, values in columns.items()})


def stored_digest(folder: Path, name: str) -> str:
    """Digest of all that belongs to a stored task; the task itself is not read."""
    return facts_of(folder / name)["digest"]


def _key(name: str, spec: Mapping[str, Any], raw_root: Path) -> str:
    """Key of all that a task is made from; a file that is not there is an error here already."""
    files = {path: [file_digest(file) for file in raw_files(raw_root, path)] for path in _paths(spec)}
    return key_of(name=name, spec=dict(spec), files=files, code=behaviour_digest(store_task))


def _paths(spec: Mapping[str, Any]) -> list[str]:
    """The paths below the raw folder that a task's row names, at any depth; not those within a data set of the hub."""
    own = [spec[key] for key in _FILES if isinstance(spec.get(key), str)]
    nested = (value for key, value in spec.items() if key != "hub" and isinstance(value, Mapping))
    return own + [path for value in nested for path in _paths(value)]


def _on_disk(spec: Mapping[str, Any], fetch: Fetch, folder: Path) -> dict[str, Any]:
    """The row with a file in `folder` in place of each data set of the hub."""
    found = {key: _on_disk(value, fetch, folder) if isinstance(value, Mapping) and key != "hub" else value
             for key, value in spec.items()}  # fmt: skip
    if "hub" in found:
        hub = found.pop("hub")
        path = folder / f"{digest_json(dict(hub))}.jsonl.gz"
        fetch(hub, path)
        found["path"] = str(path)
    return found


def _tables(task: Task) -> dict[str, pa.Table]:
    if isinstance(task, RetrievalTask):
        judged = [(qid, docid, value) for qid, documents in task.qrels.items() for docid, value in documents.items()]
        tables = {
            "corpus": _table(("id", "text"), task.corpus.items()),
            "qrels": _table(("qid", "docid", "relevance"), judged),
            "queries": _table(("id", "text"), task.queries.items()),
        }
        if isinstance(task, RerankingTask):
            tables["candidates"] = _table(("qid", "docids"), ((qid, list(ids)) for qid, ids in task.candidates.items()))
        return tables
    if isinstance(task, ClassificationTask | MultilabelTask):
        train = zip(task.train_texts, task.train_labels, strict=True)
        test = zip(task.test_texts, task.test_labels, strict=True)
        return {
            "train": _table(("train_texts", "train_labels"), train),
            "test": _table(("test_texts", "test_labels"), test),
        }
    columns = {name: values for name, values in vars(task).items() if name != "name"}
    part = "texts" if isinstance(task, ClusteringTask) else "pairs"
    return {part: _table(tuple(columns), zip(*columns.values(), strict=True))}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _table(names: tuple[str, ...], rows: Iterable[tuple]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table(dict(zip(names, map(list, columns), strict=True)))


def _texts(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))


def _judgments(table: pa.Table) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for row in table.to_pylist():
        qrels.setdefault(row["qid"], {})[row["docid"]] = row["relevance"]
    return qrels
