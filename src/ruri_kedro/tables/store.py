"""Parquet shards below `<table>/<part>/`, with a manifest written last.

A part is the share of one source. A part without a manifest does not exist. A part whose manifest has the key of
the one to be written is kept, so a run that was killed continues with the first missing part.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import read_json, remove_leftovers, replace_dir, write_json
from ruri_kedro.text.hashing import digest_all, digest_json, stable_id

MANIFEST = "manifest.json"
SHARD_ROWS = 200_000


@dataclass(frozen=True)
class Part:
    """What a part is to hold: a key of everything it depends on, and the rows, made only when they are needed.

    `rows()` yields lists of dicts or record batches with the columns of the table's schema.
    """

    key: str
    rows: Callable[[], Iterable[list[dict] | pa.RecordBatch]]


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
        return read_json(path)

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
            for shard in self.manifest(name)["shards"]:
                with pq.ParquetFile(self.root / name / shard) as file:
                    yield from file.iter_batches(batch_size=size, columns=columns)

    def iter_rows(self, parts: Iterable[str] | None = None, columns: list[str] | None = None) -> Iterator[dict]:
        """Rows as dicts, one batch in memory at a time."""
        for batch in self.batches(parts, columns):
            yield from batch.to_pylist()

    def read(self, parts: Iterable[str] | None = None, columns: list[str] | None = None) -> pa.Table:
        """The given parts as one Arrow table in memory."""
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        return pa.Table.from_batches(list(self.batches(parts, columns)), schema=schema)


def write_table(root: Path, schema: pa.Schema, parts: Mapping[str, Part | None]) -> Table:
    """Write the parts that are not there yet, remove those that are not named, return the handle.

    None in place of a part leaves what is there under that name, whole or not at all.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    table = Table(root, schema)
    for name in table.parts():
        if name not in parts:
            shutil.rmtree(root / name)
    for name, part in parts.items():
        target = root / name
        if part is not None and not is_current(target, part.key):
            _write_part(target, schema, part)
        else:
            remove_leftovers(target)
    return table


def is_current(folder: Path, key: str) -> bool:
    """Whether a complete part, index or the like with this key is there."""
    path = folder / MANIFEST
    return path.exists() and read_json(path).get("key") == key


def _write_part(target: Path, schema: pa.Schema, part: Part) -> None:
    digests: list[str] = []
    shards: list[str] = []
    rows = 0
    with replace_dir(target) as aside:
        for number, shard in enumerate(_shards(part.rows(), schema)):
            name = f"part-{number:05d}.parquet"
            pq.write_table(shard, aside / name, compression="zstd")
            digests.append(digest_rows(shard))
            shards.append(name)
            rows += shard.num_rows
        write_json(aside / MANIFEST, {"rows": rows, "digest": digest_all(digests), "key": part.key, "shards": shards})


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
    sink = pa.BufferOutputStream()
    combined = table.combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, combined.schema) as writer:
        writer.write_table(combined)
    return hashlib.blake2b(memoryview(sink.getvalue()), digest_size=16).hexdigest()


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
