"""Tasks as they are evaluated, read from their raw files once: Parquet tables in a folder, with a manifest.

What depends on a task is known by its digest, so nobody loads a task to find that its scores are there.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ruri_kedro.benchmark.tasks import (
    ClassificationTask,
    ClusteringTask,
    RerankingTask,
    RetrievalTask,
    StsTask,
    Task,
    load_task,
)
from ruri_kedro.tables.code import code_digest
from ruri_kedro.tables.files import read_json, replace_dir, write_json
from ruri_kedro.tables.raw import raw_files
from ruri_kedro.tables.store import MANIFEST, digest_rows, file_digest, is_current, key_of
from ruri_kedro.text.hashing import digest_all

_TYPES = {kind.__name__: kind for kind in (RetrievalTask, RerankingTask, StsTask, ClassificationTask, ClusteringTask)}
_PATHS = ("path", "train", "corpus")


def store_task(name: str, spec: Mapping[str, Any], raw_root: Path, folder: Path) -> None:
    """Read a task from its raw files into `folder`, unless it is there for the same files and parameters."""
    files = {path: [file_digest(file) for file in raw_files(raw_root, path)] for path in _paths(spec)}
    key = key_of(name=name, spec=dict(spec), files=files, code=code_digest("text", "benchmark"))
    if is_current(folder, key):
        return
    task = load_task(name, spec, raw_root)
    tables = _tables(task)
    with replace_dir(folder) as aside:
        for part, table in tables.items():
            pq.write_table(table, aside / f"{part}.parquet", compression="zstd")
        digest = digest_all([type(task).__name__, *map(digest_rows, tables.values())])
        rows = {part: table.num_rows for part, table in tables.items()}
        write_json(aside / MANIFEST, {"key": key, "task": type(task).__name__, "digest": digest, "rows": rows})


def stored_task(folder: Path, name: str) -> Task:
    """The task `name` of a folder of stored tasks."""
    kind = _TYPES[read_json(folder / name / MANIFEST)["task"]]
    tables = {path.stem: pq.read_table(path) for path in (folder / name).glob("*.parquet")}
    if issubclass(kind, RetrievalTask):
        parts = [_texts(tables["queries"]), _texts(tables["corpus"]), _judgments(tables["qrels"])]
        if kind is RerankingTask:
            parts.append({row["qid"]: tuple(row["docids"]) for row in tables["candidates"].to_pylist()})
        return kind(name, *parts)
    columns = {column: tuple(table[column].to_pylist()) for table in tables.values() for column in table.column_names}
    return kind(name, **columns)


def stored_digest(folder: Path, name: str) -> str:
    """Digest of all that belongs to a stored task; the task itself is not read."""
    return read_json(folder / name / MANIFEST)["digest"]


def _paths(spec: Mapping[str, Any]) -> list[str]:
    """The paths that a task's row names."""
    found = (spec.get(key) for key in _PATHS)
    return [path if isinstance(path, str) else path["path"] for path in found if path]


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
    if isinstance(task, ClassificationTask):
        train = zip(task.train_texts, task.train_labels, strict=True)
        test = zip(task.test_texts, task.test_labels, strict=True)
        return {
            "train": _table(("train_texts", "train_labels"), train),
            "test": _table(("test_texts", "test_labels"), test),
        }
    if isinstance(task, StsTask):
        rows = zip(task.texts1, task.texts2, task.scores, strict=True)
        return {"pairs": _table(("texts1", "texts2", "scores"), rows)}
    return {"texts": _table(("texts", "labels"), zip(task.texts, task.labels, strict=True))}


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
