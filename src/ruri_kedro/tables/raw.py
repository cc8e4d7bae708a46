"""Raw files, checked at the border: each error names file, row, field and remedy."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import replace_file
from ruri_kedro.tables.formats import RawFile, read_lines, read_records
from ruri_kedro.text.normalize import is_blank

__all__ = ["check_text", "check_type", "missing", "raw_files", "read_lines", "read_rows", "write_rows"]

# A folder's text files are as often a licence or a note: name them, as in `path: sentences/*.txt`.
_IN_FOLDERS = (".jsonl", ".json", ".parquet", ".csv", ".tsv")
SUFFIXES = tuple(f"{ending}{packed}" for ending in _IN_FOLDERS for packed in ("", ".gz"))

Types = type | tuple[type, ...]


def raw_files(root: Path, path: str) -> list[Path]:
    """The files that `path` names below `root`, in order: a file, all data files of a folder, or a pattern as `a/*`."""
    target = Path(root) / path
    if target.is_file():
        return [target]
    if target.is_dir():
        files = sorted(file for file in target.iterdir() if file.name.endswith(SUFFIXES))
        if files:
            return files
        raise DataError(f"{target}: no raw file in this folder. Expected one of *{', *'.join(SUFFIXES)}.")
    if any(sign in path for sign in "*?["):
        files = sorted(file for file in Path(root).glob(path) if file.is_file())
        if files:
            return files
        raise DataError(f"{target}: no file fits this pattern. Fetch the files, or correct the path.")
    raise DataError(
        f"{target}: no such file or folder. Fetch or restore the corpus (README, 'Recipes'), or set raw_root."
    )


def read_rows(
    path: Path,
    fields: Mapping[str, Types],
    unique: str | None = None,
    nonempty: tuple[str, ...] = (),
) -> Iterator[dict[str, Any]]:
    """Rows of a raw file of one of the forms of `tables.formats`.

    `fields` are the fields every row must have and their types; `unique` names a field whose values may not recur;
    `nonempty` names text fields that may not be blank. Raises DataError at the first row that breaks a rule, and
    for a file without rows.
    """
    seen: set[Any] = set()
    number = 0
    for number, row in read_records(path):
        for field, kind in fields.items():
            if field not in row:
                raise DataError(missing(path, number, field, row))
            check_type(path, number, field, row[field], kind)
        for field in nonempty:
            check_text(path, number, field, row[field])
        if unique is not None:
            if row[unique] in seen:
                raise DataError(
                    f"{path}, row {number}, field '{unique}': '{row[unique]}' occurs twice. Ids are unique."
                )
            seen.add(row[unique])
        yield row
    if number == 0:
        raise DataError(f"{path}: the file is empty. Fetch it again.")


def missing(file: RawFile, number: int, field: str, row: Mapping[str, Any]) -> str:
    """What to say of a row without a field."""
    has = ", ".join(sorted(row)) or "nothing"
    return f"{file}, row {number}, field '{field}': missing. The row has: {has}. Name the right one under `fields`."


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write gzipped JSON Lines whose bytes depend on nothing but the rows; give the path."""
    # No file name and no time in the gzip header, or equal rows would give unequal bytes.
    with replace_file(path) as aside, aside.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        for row in rows:
            packed.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return Path(path)


def check_type(file: RawFile, number: int, field: str, value: Any, kind: Types) -> None:
    """Raises DataError unless the value is of the type, and if text, of characters that UTF-8 can write."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join(k.__name__ for k in kinds)
        raise DataError(
            f"{file}, row {number}, field '{field}': {type(value).__name__} given, {names} expected. "
            "Correct the row, or name another field under `fields`."
        )
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                f"{file}, row {number}, field '{field}': a lone surrogate is not UTF-8 text. Remove it."
            ) from error


def check_text(file: RawFile, number: int, field: str, text: str) -> None:
    """Raises DataError if nothing of the text is left after normalisation."""
    if is_blank(text):
        raise DataError(f"{file}, row {number}, field '{field}': empty text. Remove the row or fill it in.")
