"""Records of raw files by the ending of their names: JSON Lines, JSON, Parquet, CSV, TSV and text, each also gzipped.

A record is its number in the file, from 1, and its fields. Each error names the file, the row and the remedy.
"""

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol

from ruri_kedro.errors import DataError
from ruri_kedro.text.foreign import said

if TYPE_CHECKING:
    import pyarrow as pa

Record = tuple[int, dict[str, Any]]

ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv", ".txt")
_CELLS = (".csv", ".tsv")
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
# First bytes of what is taken for text now and then, whatever its name says.
_FOREIGN = {
    _PARQUET: "a Parquet file. Name it .parquet",
    b"PK\x03\x04": "a zip archive or an office document. Unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an office document. Save it as CSV",
    b"\x28\xb5\x2f\xfd": "packed by zstd. Unpack it, or pack it with gzip",
    b"BZh": "packed by bzip2. Unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed by xz. Unpack it, or pack it with gzip",
    b"7z\xbc\xaf": "a 7z archive. Unpack it",
    b"%PDF": "a PDF. Take the text out of it",
}
_BROKEN_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)
_SAMPLE = 1 << 16  # bytes by which an encoding is guessed
_JAPANESE = re.compile(r"[\u3041-\u3096\u30a1-\u30fc\u4e00-\u9fff]")
_HALF_WIDTH = re.compile(r"[\uff61-\uff9f]")


class RawFile(Protocol):
    """A file that can be read: a path, or a file on the hub. `str` of it is what an error calls it."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    def open(self, mode: str) -> IO[bytes]:
        """A stream of its bytes, which can be moved to its start."""


def read_records(
    file: RawFile, columns: Collection[str] | None = None, header: Sequence[str] | None = None
) -> Iterator[Record]:
    """The records of a file, one batch in memory at a time.

    `columns` are the fields that are needed: the others of a Parquet file are not read. `header` names the columns of
    a CSV or TSV file that does not name them itself; its values are all text. A text file gives a field `text` per
    line, a JSON document that is not JSON Lines one record, or one per element of a list. A name that stands twice, in
    a header or an object, is an error. Raises DataError.
    """
    ending = _ending(file.name)
    if ending == ".parquet":
        return _parquet(file, columns)
    if ending in _CELLS:
        return _delimited(file, ending, header)
    if ending in (*ENDINGS, ""):
        return {".txt": _text, ".json": _json}.get(ending, _json_lines)(file)
    raise DataError(
        f"{file}: files with the ending '{ending}' are not read. Convert or unpack it to one of {', '.join(ENDINGS)}, "
        "each also with .gz behind it; JSON Lines may also have no ending."
    )


def read_lines(file: RawFile) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of the lines of a UTF-8 file, plain or gzipped, that are not blank."""
    return ((number, line) for number, line in _lines(file) if line.strip())


def has_cells(file: RawFile) -> bool:
    """Whether all values of the file are text by its form, numbers too: CSV and TSV."""
    return _ending(file.name) in _CELLS


def parse_json(text: str) -> Any:
    """The JSON value of a text. Raises ValueError, also for an object that has a key twice and for too deep nesting."""
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"the key '{_twice(key for key, _ in pairs)}' stands twice in an object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object_of)


def _twice(names: Iterable[str]) -> str | None:
    """The first of the names that occurs twice."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _ending(name: str) -> str:
    """The ending in lower case, without .gz; '' for none, or for one that is only a number (`part.001`)."""
    stem = name.lower().removesuffix(".gz")
    found = re.search(r"\.[a-z][a-z0-9]{0,7}$", stem)
    return found[0] if found else ""


def _lines(file: RawFile) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with _opened(file) as handle:
            for number, line in enumerate(handle, start=1):
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(_not_utf8(file, number, error, line + handle.read(_SAMPLE))) from error
                yield number, text.removeprefix("\ufeff") if number == 1 else text
    except _BROKEN_GZIP as error:
        raise DataError(_broken(file, number, error)) from error
    except OSError as error:
        raise DataError(_unreadable(file, error)) from error


def _opened(file: RawFile) -> IO[bytes]:
    """The bytes of a text file, unpacked if they are gzipped, whatever its name says."""
    handle, start = _peeked(file)
    if start.startswith(_GZIP) or file.name.lower().endswith(".gz"):
        return gzip.GzipFile(fileobj=handle)
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            handle.close()
            raise DataError(f"{file}: this is {what}.")
    return handle


def _peeked(file: RawFile) -> tuple[IO[bytes], bytes]:
    """(the file, its first bytes)."""
    handle = file.open("rb")
    start = handle.read(8)
    handle.seek(0)
    return handle, start


def _not_utf8(file: RawFile, number: int, error: UnicodeDecodeError, sample: bytes) -> str:
    guess = _encoding_of(sample)
    remedy = (
        f"It looks like {guess}. Convert the file: iconv -f {guess} -t UTF-8."
        if guess
        else "Convert the file: iconv -f ENCODING -t UTF-8, with the encoding that it was saved in."
    )
    return f"{file}, row {number}: byte {error.start} is not UTF-8. {remedy}"


def _encoding_of(sample: bytes) -> str | None:
    """The encoding of Japanese text that the bytes look like, by the name that iconv has for it."""
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    found = []
    for name in ("CP932", "EUC-JP"):
        try:
            # An incremental decoder, since the sample may end within a character.
            text = codecs.getincrementaldecoder(name)().decode(sample)
        except UnicodeDecodeError:
            continue
        # One read as the other is half-width katakana.
        if letters := len(_JAPANESE.findall(text)):
            found.append((letters - len(_HALF_WIDTH.findall(text)), name))
    return max(found, default=(0, None))[1]


def _broken(file: RawFile, number: int, error: Exception) -> str:
    return f"{file}, after row {number}: the gzip stream is broken ({error}). Fetch it again."


def _unreadable(file: RawFile, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{file}: no such file."
    return f"{file}: cannot be read ({said(error, 300)}). Check its permissions, or the network if it is on the hub."


def _json_lines(file: RawFile) -> Iterator[Record]:
    for number, line in read_lines(file):
        yield number, _object(file, number, _parse(file, number, line))


def _json(file: RawFile) -> Iterator[Record]:
    """JSON Lines if the first line is a JSON value by itself, one document otherwise."""
    lines = read_lines(file)
    number, first = next(lines, (0, ""))
    try:
        json.loads(first or "[]")
        text = first or "[]"
    except (ValueError, RecursionError):
        text = "".join([first, *(line for _, line in lines)])
    value = _parse(file, number, text)
    elements = value if isinstance(value, list) else [value]
    yield from ((place, _object(file, place, element)) for place, element in enumerate(elements, start=number or 1))
    yield from ((number, _object(file, number, _parse(file, number, line))) for number, line in lines)


def _parse(file: RawFile, number: int, text: str) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}, row {number}: not JSON ({error.msg} at character {error.pos}). Fetch it again."
        ) from error
    except ValueError as error:
        raise DataError(f"{file}, row {number}: {error}. Correct the row.") from error


def _object(file: RawFile, number: int, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{file}, row {number}: a {type(value).__name__} where a JSON object is expected. Remove it.")
    return value


def _text(file: RawFile) -> Iterator[Record]:
    return ((number, {"text": line.rstrip("\r\n")}) for number, line in read_lines(file))


def _delimited(file: RawFile, ending: str, header: Sequence[str] | None) -> Iterator[Record]:
    """Rows of fields that are all text, each by the number of its first line; columns without a name are left out.

    TSV quotes nothing: a quotation mark is text there.
    """
    csv.field_size_limit(sys.maxsize)
    dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if ending == ".tsv" else {"strict": True}
    # Rows by the header of the file, or by the one that the recipe gives.
    reader = csv.reader((line for _, line in _lines(file)), **dialect)
    names = _header(f"{file}, its header in the recipe", header) if header else None
    start = 1
    try:
        for fields in reader:
            number, start = start, reader.line_num + 1
            if not fields:
                continue
            if names is None:
                names = _header(f"{file}, row {number}", fields)
                continue
            if len(fields) != len(names):
                raise DataError(
                    f"{file}, row {number}: {len(fields)} fields where the header has {len(names)} "
                    f"({', '.join(names)}). A quotation mark or separator is wrong there, or the row was cut."
                )
            row = dict(zip(names, fields, strict=True))
            row.pop("", None)
            yield number, row
    except csv.Error as error:
        raise DataError(
            f"{file}, row {start}: not {ending[1:].upper()} ({error}). Correct it: a quotation mark that opens in this "
            "row is not closed, or one that belongs to the text is not doubled."
        ) from error


def _header(where: str, names: Sequence[str]) -> list[str]:
    """The names of columns. Raises DataError if one stands twice: either of the two could be meant."""
    if name := _twice(filter(None, names)):
        raise DataError(f"{where}: column '{name}' stands twice in the header. Rename or remove one of the two.")
    return list(names)


def _parquet(file: RawFile, columns: Collection[str] | None) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with _seekable(file) as handle, pq.ParquetFile(handle) as table:
            names = table.schema_arrow.names
            _check_columns(file, list(table.schema_arrow), "")
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


def _check_columns(file: RawFile, fields: Sequence["pa.Field"], above: str) -> None:
    """Raises DataError if two columns, or two fields of a column at any depth, have one name."""
    if name := _twice(field.name for field in fields):
        raise DataError(f"{file}: column '{above}{name}' stands twice. Rename or remove one of the two.")
    for field in fields:
        kind = field.type
        while hasattr(kind, "value_type") and not hasattr(kind, "index_type"):
            kind = kind.value_type
        if hasattr(kind, "get_field_index"):
            _check_columns(file, [kind.field(place) for place in range(kind.num_fields)], f"{above}{field.name}.")


def _seekable(file: RawFile) -> IO[bytes]:
    handle, start = _peeked(file)
    if start.startswith(_PARQUET) or not (start.startswith(_GZIP) or file.name.lower().endswith(".gz")):
        return handle
    with handle:
        return io.BytesIO(gzip.decompress(handle.read()))
