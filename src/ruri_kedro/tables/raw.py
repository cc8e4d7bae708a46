"""Raw JSON Lines files, checked at the border: each error names file, row, field and remedy."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import replace_file
from ruri_kedro.text.normalize import is_blank

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")


def raw_files(root: Path, path: str) -> list[Path]:
    """The files that `path` names below `root`: a file, or all raw files of a folder in order of name."""
    target = Path(root) / path
    if target.is_file():
        return [target]
    if target.is_dir():
        files = sorted(file for file in target.iterdir() if file.name.endswith(SUFFIXES))
        if files:
            return files
        raise DataError(f"{target}: no raw file in this folder. Expected one of *{', *'.join(SUFFIXES)}.")
    raise DataError(f"{target}: no such file or folder. Fetch or restore the corpus (README, 'Data'), or set raw_root.")


def read_rows(
    path: Path,
    fields: Mapping[str, type | tuple[type, ...]],
    unique: str | None = None,
    nonempty: tuple[str, ...] = (),
) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file, plain or gzipped, as `parse_rows` checks them.

    Raises DataError for a file without rows, too.
    """
    return parse_rows(path, filled_lines(path), fields, unique, nonempty)


def parse_rows(
    path: Path,
    lines: Iterable[tuple[int, str]],
    fields: Mapping[str, type | tuple[type, ...]],
    unique: str | None = None,
    nonempty: tuple[str, ...] = (),
) -> Iterator[dict[str, Any]]:
    """Rows of (number, line) of the JSON Lines file `path`.

    `fields` are the fields every row must have and their types; `unique` names a field whose values may not recur
    among these lines; `nonempty` names text fields that may not be blank. Raises DataError at the first row that breaks
    a rule.
    """
    seen: set[Any] = set()
    for number, line in lines:
        row = _parse(path, number, line)
        for field, kind in fields.items():
            _check_field(path, number, row, field, kind)
        for field in nonempty:
            if is_blank(row[field]):
                raise DataError(f"{path}, row {number}, field '{field}': empty text. Remove the row or fill it in.")
        if unique is not None:
            if row[unique] in seen:
                raise DataError(
                    f"{path}, row {number}, field '{unique}': '{row[unique]}' occurs twice. Ids are unique."
                )
            seen.add(row[unique])
        yield row


def filled_lines(path: Path) -> Iterator[tuple[int, str]]:
    """`read_lines`; raises DataError where there are none."""
    number = 0
    for number, line in read_lines(path):
        yield number, line
    if number == 0:
        raise DataError(f"{path}: the file is empty. Fetch it again.")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of the lines of a UTF-8 file, plain or gzipped, that are not blank."""
    number = 0
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as handle:
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    yield number, line.decode("utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, row {number}: byte {error.start} is not UTF-8. Convert the file: iconv -t UTF-8."
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}, after row {number}: the gzip stream is broken ({error}). Fetch it again.") from error


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write gzipped JSON Lines whose bytes depend on nothing but the rows; give the path."""
    # No file name and no time in the gzip header, or equal rows would give unequal bytes.
    with replace_file(path) as aside, aside.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        for row in rows:
            packed.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return Path(path)


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, row {number}: not JSON ({error.msg} at character {error.pos}).") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, row {number}: a {type(row).__name__} where a JSON object is expected.")
    return row


def _check_field(path: Path, number: int, row: dict, field: str, kind: type | tuple[type, ...]) -> None:
    if field not in row:
        raise DataError(
            f"{path}, row {number}, field '{field}': missing. The row has: {', '.join(sorted(row)) or 'nothing'}."
        )
    value = row[field]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise DataError(f"{path}, row {number}, field '{field}': {type(value).__name__} given, {names} expected.")
    if kind is str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"{path}, row {number}, field '{field}': a lone surrogate is not UTF-8 text.") from error
