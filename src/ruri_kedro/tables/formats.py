"""Records of raw files by the ending of their names: JSON Lines, JSON, Parquet, CSV, TSV and text, each also gzipped.

A record is its number in the file, from 1, and its fields. Each error names the file, the row and the remedy.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Any, Protocol

from ruri_kedro.errors import DataError

Record = tuple[int, dict[str, Any]]

_BROKEN_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


class RawFile(Protocol):
    """A file that can be read: a path, or a file on the hub. `str` of it is what an error calls it."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    def open(self, mode: str) -> IO[bytes]:
        """A stream of its bytes."""


def read_records(
    file: RawFile, columns: Collection[str] | None = None, header: Sequence[str] | None = None
) -> Iterator[Record]:
    """The records of a file, one batch in memory at a time.

    `columns` are the fields that are needed: the others of a Parquet file are not read. `header` names the columns of
    a CSV or TSV file that does not name them itself. A text file gives a field `text` per line, a JSON document that
    is no JSON Lines one record, or one per element of a list. Raises DataError.
    """
    ending = _ending(file.name)
    if ending == ".parquet":
        return _parquet(file, columns)
    if ending in (".csv", ".tsv"):
        return _delimited(file, ending, header)
    return {".txt": _text, ".json": _json}.get(ending, _json_lines)(file)


def read_lines(file: RawFile) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of the lines of a UTF-8 file, plain or gzipped, that are not blank."""
    return ((number, line) for number, line in _lines(file) if line.strip())


def _ending(name: str) -> str:
    stem = name.removesuffix(".gz")
    return stem[stem.rfind(".") :] if "." in stem else ""


def _lines(file: RawFile) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with _opened(file) as handle:
            for number, line in enumerate(handle, start=1):
                text = line.decode("utf-8")
                yield number, text.removeprefix("\ufeff") if number == 1 else text
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}, row {number}: byte {error.start} is not UTF-8. Convert the file: iconv -t UTF-8."
        ) from error
    except _BROKEN_GZIP as error:
        raise DataError(_broken(file, number, error)) from error
    except OSError as error:
        raise DataError(_unreadable(file, error)) from error


def _opened(file: RawFile) -> IO[bytes]:
    handle = file.open("rb")
    return gzip.GzipFile(fileobj=handle) if file.name.endswith(".gz") else handle


def _broken(file: RawFile, number: int, error: Exception) -> str:
    return f"{file}, after row {number}: the gzip stream is broken ({error}). Fetch it again."


def _unreadable(file: RawFile, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{file}: no such file."
    return f"{file}: cannot be read ({error}). Check its permissions, or the network if it is on the hub."


def _json_lines(file: RawFile) -> Iterator[Record]:
    for number, line in read_lines(file):
        yield number, _object(file, number, _parse(file, number, line))


def _json(file: RawFile) -> Iterator[Record]:
    """JSON Lines if the first line is a JSON value by itself, one document otherwise."""
    lines = read_lines(file)
    number, first = next(lines, (0, ""))
    try:
        value = json.loads(first or "[]")
    except json.JSONDecodeError:
        value = _parse(file, number, "".join([first, *(line for _, line in lines)]))
    elements = value if isinstance(value, list) else [value]
    yield from ((place, _object(file, place, element)) for place, element in enumerate(elements, start=number or 1))
    yield from ((number, _object(file, number, _parse(file, number, line))) for number, line in lines)


def _parse(file: RawFile, number: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}, row {number}: not JSON ({error.msg} at character {error.pos}). Fetch it again."
        ) from error


def _object(file: RawFile, number: int, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{file}, row {number}: a {type(value).__name__} where a JSON object is expected. Remove it.")
    return value


def _text(file: RawFile) -> Iterator[Record]:
    return ((number, {"text": line.rstrip("\r\n")}) for number, line in read_lines(file))


def _delimited(file: RawFile, ending: str, header: Sequence[str] | None) -> Iterator[Record]:
    """Rows of fields that are all text. TSV quotes nothing: a quotation mark is text there."""
    csv.field_size_limit(sys.maxsize)
    dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if ending == ".tsv" else {"strict": True}
    reader = csv.reader((line for _, line in _lines(file)), **dialect)
    names = list(header) if header else None
    try:
        for fields in reader:
            if not fields:
                continue
            if names is None:
                names = fields
                continue
            if len(fields) != len(names):
                raise DataError(
                    f"{file}, row {reader.line_num}: {len(fields)} fields where the header has {len(names)} "
                    f"({', '.join(names)}). A quotation mark or separator is wrong there, or the row was cut."
                )
            yield reader.line_num, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise DataError(f"{file}, row {reader.line_num}: not {ending[1:].upper()} ({error}). Correct it.") from error


def _parquet(file: RawFile, columns: Collection[str] | None) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with _seekable(file) as handle, pq.ParquetFile(handle) as table:
            names = table.schema_arrow.names
            wanted = names if columns is None else [name for name in names if name in columns]
            if not wanted:
                # A batch without columns has no rows; rows that have nothing show what is missing.
                yield from ((number, {}) for number in range(1, table.metadata.num_rows + 1))
                return
            for batch in table.iter_batches(batch_size=1024, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{file}, after row {number}: no Parquet file, or a broken one ({error}). Fetch it again."
        ) from error
    except _BROKEN_GZIP as error:
        raise DataError(_broken(file, number, error)) from error
    except OSError as error:
        raise DataError(_unreadable(file, error)) from error


def _seekable(file: RawFile) -> IO[bytes]:
    handle = file.open("rb")
    if not file.name.endswith(".gz"):
        return handle
    with handle:
        return io.BytesIO(gzip.decompress(handle.read()))
