"""Parquet shards below `<table>/<part>/`, with a manifest written last.

A part is the share of one source. A part without a manifest does not exist. A part whose manifest has the key of
the one to be written is kept, and so are the finished shards of one that was not finished: a run that was killed
continues with the first missing shard. One process at a time writes a table. Each file has its checksum in the
manifest, by which it is checked before it is read.
"""

import hashlib
import io
import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ruri_kedro.errors import DamagedError, DataError
from ruri_kedro.tables.checksums import (
    MANIFEST,
    checksum,
    fault_in,
    is_current,
    read_checked,
    remedy,
    write_checked,
)
from ruri_kedro.tables.files import UNFINISHED, move_dir, remove_leftovers, replace_dir, replace_file, sole_writer
from ruri_kedro.text.hashing import digest_all, digest_json, stable_id
from ruri_kedro.text.names import check_name

logger = logging.getLogger(__name__)

SHARD_ROWS = 200_000
_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Part:
    """What a part is to hold: a key of everything it depends on, and the rows, made only when they are needed.

    `rows()` yields lists of dicts or record batches with the columns of the table's schema.
    """

    key: str
    rows: Callable[[], Iterable[list[dict] | pa.RecordBatch]]


@dataclass(frozen=True)
class ShardedPart:
    """A part whose shards are made one by one: what a killed run has finished of it is kept.

    `shards(done)` yields the shards from number `len(done)` on; `done` are the files of those before. `total()` is how
    many there will be in all, for the progress bar, where that can be known before.
    """

    key: str
    shards: Callable[[Sequence[Path]], Iterable[pa.Table]]
    total: Callable[[], int] | None = None


AnyPart = Part | ShardedPart


@dataclass(frozen=True)
class Table:
    """A handle on a table on disk; nothing is read before it is asked for."""

    root: Path
    schema: pa.Schema

    def parts(self) -> list[str]:
        """Names of the complete parts, sorted."""
        return sorted(path.parent.name for path in self.root.glob(f"[!.]*/{MANIFEST}"))

    def manifest(self, part: str) -> dict:
        """Rows, digest, key and shards of a part; an error if there is no such part."""
        path = self.root / part / MANIFEST
        if not path.exists():
            raise DataError(f"{self.root}: there is no part '{part}'. It has: {', '.join(self.parts()) or 'none'}.")
        manifest = read_checked(path)
        if missing := {"rows", "digest", "key", "shards"} - manifest.keys():
            raise DamagedError(f"{path}: {', '.join(sorted(missing))} missing", remedy(path.parent))
        return manifest

    def digest(self, parts: Iterable[str] | None = None) -> str:
        """Digest of the rows of the given parts (default: all), whatever the time they were written."""
        names = sorted(parts) if parts is not None else self.parts()
        return digest_all(stable_id(name, self.manifest(name)["digest"]) for name in names)

    def rows(self, part: str | None = None) -> int:
        """Number of rows of one part, or of all."""
        return sum(self.manifest(name)["rows"] for name in ([part] if part else self.parts()))

    def batches(
        self, parts: Iterable[str] | None = None, columns: list[str] | None = None, size: int = 16_384
    ) -> Iterator[pa.RecordBatch]:
        """Record batches of at most `size` rows, part by part in order of name, rows in order of writing."""
        for name in self.parts() if parts is None else parts:
            yield from read_shards(self.shards(name), columns, size)

    def shards(self, part: str) -> list[Path]:
        """The files of a part, in order of their rows."""
        return [self.root / part / shard for shard in self.manifest(part)["shards"]]

    def iter_rows(self, parts: Iterable[str] | None = None, columns: list[str] | None = None) -> Iterator[dict]:
        """Rows as dicts, one batch in memory at a time."""
        for batch in self.batches(parts, columns):
            yield from batch.to_pylist()

    def select(
        self, part: str, column: str, wanted: Collection[str], columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Record batches of the rows of a part whose `column` is among `wanted` (a set); rows in order of writing.

        Of a shard without such a row only that column is read.
        """
        for path in self.shards(part):
            values = chain.from_iterable(batch.column(0).to_pylist() for batch in read_shards([path], [column]))
            mask = pa.array([value in wanted for value in values], type=pa.bool_())
            if mask.true_count:
                start = 0
                for batch in read_shards([path], columns):
                    yield batch.filter(mask.slice(start, batch.num_rows))
                    start += batch.num_rows

    def read(self, parts: Iterable[str] | None = None, columns: list[str] | None = None) -> pa.Table:
        """The given parts as one Arrow table in memory."""
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        return pa.Table.from_batches(list(self.batches(parts, columns)), schema=schema)


def read_shards(
    files: Iterable[Path], columns: list[str] | None = None, size: int = 16_384
) -> Iterator[pa.RecordBatch]:
    """Record batches of at most `size` rows of the files, one after the other.

    Raises DamagedError for a file that is not what was written.
    """
    for path in files:
        said = _checksum_said(path)
        if fault := fault_in(path.parent, said):
            raise DamagedError(fault, remedy(path.parent))
        try:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(batch_size=size, columns=columns)
        except (pa.ArrowException, OSError) as error:
            if said:  # it is what was written
                raise
            raise DamagedError(f"{path}: a broken Parquet file ({error})", remedy(path.parent)) from error


def _checksum_said(shard: Path) -> dict[str, Any]:
    """The checksum of a shard by its name, from what was written beside it; empty where 0.1 wrote it."""
    for path in (shard.parent / MANIFEST, shard.with_suffix(".json")):
        if path.exists():
            found = path.stat()
            files = _files_said(path, found.st_mtime_ns, found.st_ino)
            return {shard.name: files[shard.name]} if shard.name in files else {}
    return {}


@lru_cache
def _files_said(path: Path, *_: int) -> dict[str, Any]:
    return read_checked(path).get("files", {})


def write_table(root: Path, schema: pa.Schema, parts: Mapping[str, AnyPart | None]) -> Table:
    """Write the parts that are not there yet, remove those that are not named, return the handle.

    None in place of a part leaves what is there under that name, whole or not at all. Raises RecipeError for a name
    that cannot be a folder's, before anything is written, and DataError where another process writes the table.
    """
    root = Path(root)
    for name in parts:
        check_name(f"table {root}", name, dots=True)
    root.mkdir(parents=True, exist_ok=True)
    with sole_writer(root):
        return write_parts(root, schema, parts)


def write_parts(root: Path, schema: pa.Schema, parts: Mapping[str, AnyPart | None]) -> Table:
    """`write_table`, by the holder of the table's lock."""
    table = Table(root, schema)
    for name in table.parts():
        if name not in parts:
            shutil.rmtree(root / name)
    for folder in root.glob(f"{UNFINISHED}*"):
        if folder.name.removeprefix(UNFINISHED) not in parts:
            shutil.rmtree(folder)
    for name, part in parts.items():
        target = root / name
        if part is None:
            remove_leftovers(target)
        elif is_current(target, part.key, sizes_only=True):  # the bytes are checked when they are read
            remove_leftovers(target)
            shutil.rmtree(_unfinished(target), ignore_errors=True)
        elif isinstance(part, ShardedPart):
            _write_sharded(target, schema, part)
        else:
            _write_part(target, schema, part)
    check_parts(root, table.parts(), parts)
    return table


def check_parts(root: Path, found: Iterable[str], parts: Mapping[str, Any]) -> None:
    """Raise DataError where the parts that are there now are not those that were asked for (None: may be missing)."""
    found, wanted = set(found), {name for name, part in parts.items() if part is not None}
    if odd := sorted(wanted - found | found - parts.keys()):
        raise DataError(
            f"{root}: the part {odd[0]} is missing, or there and not written. Write all again: {', '.join(parts)}."
        )


def _write_part(target: Path, schema: pa.Schema, part: Part) -> None:
    with replace_dir(target) as aside:
        written = [
            _write_shard(aside, number, shard, part.key) for number, shard in enumerate(_shards(part.rows(), schema))
        ]
        _finish(aside, part.key, written)


def _write_sharded(target: Path, schema: pa.Schema, part: ShardedPart) -> None:
    """Write the missing shards into a folder that is kept if this process is killed, then rename it."""
    remove_leftovers(target)
    unfinished = _unfinished(target)
    if is_current(unfinished, part.key):  # killed between the manifest and the new name
        _tidy(unfinished)
        move_dir(unfinished, target)
        return
    written = _finished_shards(unfinished, part.key)
    if not written:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
    rows = 0
    with _progress(f"{target.parent.name} {target.name}", part, len(written)) as bar:
        for shard in part.shards([unfinished / _name(number) for number in range(len(written))]):
            written.append(_write_shard(unfinished, len(written), shard.cast(schema), part.key))
            rows += shard.num_rows
            bar.set_postfix_str(f"{rows:,} rows", refresh=False)
            bar.update()
    if not written:
        written.append(_write_shard(unfinished, 0, schema.empty_table(), part.key))
    _finish(unfinished, part.key, written)
    move_dir(unfinished, target)


def _progress(label: str, part: ShardedPart, done: int) -> tqdm:
    bar = tqdm(desc=label, unit=" shards", initial=done, mininterval=1.0, disable=None)
    if part.total and not bar.disable:  # to count may take a pass over a table
        bar.total = part.total()
    return bar


def _name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _write_shard(folder: Path, number: int, rows: pa.Table, key: str) -> dict[str, Any]:
    """The rows as a file, then what is known of it, which makes it a finished shard; gives the latter."""
    path = folder / _name(number)
    rows = rows.combine_chunks()
    # The bytes of a file depend on its chunks: they are cut anew, however the rows were made.
    chunks = rows.to_batches(_CHUNK_ROWS)
    with replace_file(path) as aside:
        pq.write_table(pa.Table.from_batches(chunks, schema=rows.schema), aside, compression="zstd")
    said = {"key": key, "rows": rows.num_rows, "digest": digest_rows(rows), "files": {path.name: checksum(path)}}
    write_checked(path.with_suffix(".json"), said)
    return said


def _finished_shards(folder: Path, key: str) -> list[dict[str, Any]]:
    """What is known of each shard with this key, up to the first that is missing or damaged."""
    found: list[dict[str, Any]] = []
    while (path := (folder / _name(len(found))).with_suffix(".json")).exists():
        try:
            said = read_checked(path)
        except DamagedError as error:
            logger.warning("%s. The shard is made again, with all behind it.", error.fault)
            break
        # A shard of 0.1 has no checksum: it is made again.
        if said.get("key") != key or "files" not in said:
            break
        if fault := fault_in(folder, said["files"]):
            logger.warning("%s. The shard is made again, with all behind it.", fault)
            break
        found.append(said)
    return found


def _finish(folder: Path, key: str, written: Sequence[Mapping[str, Any]]) -> None:
    """The manifest, in place of what stands beside each shard.

    Raises DataError unless the folder holds the shards that were written, as they were.
    """
    shards = _finished_shards(folder, key)
    if shards != written:
        raise DataError(
            f"{folder}: {len(written)} shards with {sum(shard['rows'] for shard in written)} rows were written, but "
            f"{len(shards)} with {sum(shard['rows'] for shard in shards)} rows are there. Another program writes to "
            "this folder: end it, then run the same again."
        )
    files = {name: entry for shard in shards for name, entry in shard["files"].items()}
    manifest = {
        "rows": sum(shard["rows"] for shard in shards),
        "digest": digest_all(shard["digest"] for shard in shards),
        "key": key,
        "shards": list(files),
        "files": files,
    }
    write_checked(folder / MANIFEST, manifest)
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """Remove all but the manifest and its shards."""
    kept = (MANIFEST, *read_checked(folder / MANIFEST)["shards"])
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()


def _unfinished(target: Path) -> Path:
    return target.parent / f"{UNFINISHED}{target.name}"


def _shards(batches: Iterable[list[dict] | pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Cut a stream of batches into tables of SHARD_ROWS rows; at least one, perhaps empty."""
    held: list[pa.RecordBatch] = []
    rows = 0
    written = False
    for batch in batches:
        record = batch if isinstance(batch, pa.RecordBatch) else to_batch(batch, schema)
        while rows + record.num_rows >= SHARD_ROWS:
            take = SHARD_ROWS - rows
            yield pa.Table.from_batches([*held, record.slice(0, take)], schema=schema)
            written = True
            record, held, rows = record.slice(take), [], 0
        held.append(record)
        rows += record.num_rows
    if rows or not written:
        yield pa.Table.from_batches(held, schema=schema)


def to_batch(rows: list[dict], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as a record batch; an error that names the first row and column that do not fit the schema."""
    try:
        batch = pa.RecordBatch.from_pylist(rows, schema=schema)
        batch.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(_first_misfit(rows, schema) or f"rows do not fit the schema: {error}") from error
    for field in schema:
        if not field.nullable and batch.column(field.name).null_count:
            raise DataError(_first_misfit(rows, schema))
    return batch


def to_table(rows: Iterable[dict], schema: pa.Schema) -> pa.Table:
    """Rows as a table in memory, such as a shard; an error as in `to_batch`."""
    return pa.Table.from_batches([to_batch(block, schema) for block in blocks(rows)], schema=schema)


def _first_misfit(rows: list[dict], schema: pa.Schema) -> str:
    for number, row in enumerate(rows):
        for field in schema:
            value = row.get(field.name)
            if value is None and not field.nullable:
                return f"row {number}, column '{field.name}': no value. Row: {row}"
            try:
                pa.array([value], type=field.type)
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                kind = type(value).__name__
                return f"row {number}, column '{field.name}': {kind} given, {field.type} expected. Row: {row}"
    return ""


def digest_rows(table: pa.Table) -> str:
    """Digest of schema and values; the same however the rows were cut into batches or compressed."""
    sink = _DigestSink()
    combined = table.combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, combined.schema) as writer:
        writer.write_table(combined)
    return sink.digest.hexdigest()


class _DigestSink(io.RawIOBase):
    """A file that keeps of what is written to it the digest only."""

    def __init__(self) -> None:
        self.digest = hashlib.blake2b(digest_size=16)

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:
        self.digest.update(data)
        return len(data)


def file_digest(path: Path) -> str:
    """Digest of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def blocks(rows: Iterable[dict], size: int = 4096) -> Iterator[list[dict]]:
    """Rows in lists of `size`, as `Part.rows` yields them."""
    stream = iter(rows)
    while block := list(islice(stream, size)):
        yield block


def key_of(**dependencies: object) -> str:
    """Key of everything a part depends on: parameters and digests, as JSON values."""
    return digest_json(dependencies)
