"""Tasks as they are evaluated, read from their raw files once: Parquet tables in a folder, with a manifest.

What depends on a task is known by its digest, so nobody loads a task to find that its scores are there.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.benchmark.tasks.rows import parse_task
from ruri_kedro.benchmark.tasks.types import task_types, type_of, type_stored_as
from ruri_kedro.tables.checksums import facts_of, is_current, write_manifest
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import replace_dir
from ruri_kedro.tables.raw import raw_files
from ruri_kedro.tables.store import digest_rows, file_digest, key_of
from ruri_kedro.text.hashing import digest_all, digest_json

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
    tables = type_of(task).tables(task)
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


def stored_task(folder: Path, name: str) -> Any:
    """The task `name` of a folder of stored tasks."""
    kind = type_stored_as(facts_of(folder / name)["task"])
    return kind.restored(name, {path.stem: pq.read_table(path) for path in (folder / name).glob("*.parquet")})


def stored_digest(folder: Path, name: str) -> str:
    """Digest of all that belongs to a stored task; the task itself is not read."""
    return facts_of(folder / name)["digest"]


def _key(name: str, spec: Mapping[str, Any], raw_root: Path) -> str:
    """Key of all that a task is made from; a file that is not there is an error here already."""
    files = {path: [file_digest(file) for file in raw_files(raw_root, path)] for path in local_paths(spec)}
    parse_task(name, spec)  # the type is known from here on
    code = behaviour_digest(store_task, *task_types()[spec["type"]].reading)
    return key_of(name=name, spec=dict(spec), files=files, code=code)


def local_paths(spec: Mapping[str, Any]) -> list[str]:
    """The paths below the raw folder that a task's row names, at any depth; not those within a data set of the hub."""
    own = [spec[key] for key in _FILES if isinstance(spec.get(key), str)]
    nested = (value for key, value in spec.items() if key != "hub" and isinstance(value, Mapping))
    return own + [path for value in nested for path in local_paths(value)]


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
