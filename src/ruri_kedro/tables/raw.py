"""Raw files, checked at the border: each error names file, row, field and remedy."""

import gzip
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import replace_file
from ruri_kedro.tables.formats import ENDINGS, RawFile, Record, has_cells, read_records
from ruri_kedro.text.normalize import is_blank

# A folder's text files are as often a licence or a note: name them, as in `path: sentences/*.txt`.
_IN_FOLDERS = tuple(ending for ending in ENDINGS if ending != ".txt")
SUFFIXES = tuple(f"{ending}{packed}" for ending in _IN_FOLDERS for packed in ("", ".gz"))

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BOOLS = {"true": True, "false": False}
_GRADES = 1000  # trec_eval takes memory by the highest relevance, and wraps what is beyond its integers

Types = type | tuple[type, ...]


def raw_files(root: Path, path: str) -> list[Path]:
    """The files that `path` names below `root`, in order: a file, all data files of a folder, or a pattern as `a/*`.

    Of folders and patterns hidden files are left out: a name that begins with a dot is a system's or editor's own.
    """
    target = Path(root) / path
    if target.is_file():
        return [target]
    if target.is_dir():
        visible = sorted(file for file in target.iterdir() if not file.name.startswith("."))
        files = [file for file in visible if file.name.lower().endswith(SUFFIXES)]
        if files:
            return files
        raise DataError(
            f"{target}: no raw file in this folder. Expected one of *{', *'.join(SUFFIXES)}; "
            f"it has: {', '.join(file.name for file in visible[:5]) or 'nothing'}."
        )
    if any(sign in path for sign in "*?["):
        named = Path(path).parts  # a folder that the pattern names itself may be hidden
        found = (file for file in Path(root).glob(path) if file.is_file())
        files = sorted(
            file for file in found
            if not any(part.startswith(".") and part not in named for part in file.relative_to(root).parts)
        )  # fmt: skip
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
) -> Iterator[Record]:
    """(number, row) of the rows of a raw file of one of the forms of `tables.formats`.

    `fields` are the fields every row must have and their types; `unique` names a field whose values may not recur;
    `nonempty` names text fields that may not be blank. Raises DataError at the first row that breaks a rule, and
    for a file without rows.
    """
    seen: set[Any] = set()
    number = 0
    for number, row in read_records(path):
        row = {**row, **{field: read_field(path, number, row, field, kind) for field, kind in fields.items()}}
        for field in nonempty:
            check_text(path, number, field, row[field])
        if unique is not None:
            if row[unique] in seen:
                raise DataError(
                    f"{path}, row {number}, field '{unique}': '{row[unique]}' occurs twice. Ids are unique."
                )
            seen.add(row[unique])
        yield number, row
    if number == 0:
        raise DataError(f"{path}: the file is empty. Fetch it again.")


def read_field(file: RawFile, number: int, row: Mapping[str, Any], field: str, kind: Types = str) -> Any:
    """The value of a field that a row must have, as `check_type` gives it."""
    if field not in row:
        raise DataError(missing(file, number, field, row))
    return check_type(file, number, field, row[field], kind)


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


def check_type(file: RawFile, number: int, field: str, value: Any, kind: Types) -> Any:
    """The value; in CSV and TSV, whose values are text, as the number or truth value that is wanted.

    Raises DataError unless it is of the type, a number finite, and a text of characters that UTF-8 can write.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if isinstance(value, str) and str not in kinds and has_cells(file):
        value = _of_cell(value, kinds)
    where = f"{file}, row {number}, field '{field}'"
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        shown = f" ({value[:40]!r})" if isinstance(value, str) else ""
        raise DataError(
            f"{where}: {type(value).__name__} given{shown}, {names} expected. "
            "Correct the row, or name another field under `fields`."
        )
    # Of whole numbers, too, some are beyond what a float can hold.
    if isinstance(value, int | float) and float in kinds and not abs(value) <= sys.float_info.max:
        raise DataError(f"{where}: {str(value)[:40]} is not a finite number. Correct the row or remove it.")
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"{where}: a lone surrogate is not UTF-8 text. Remove it.") from error
    return value


def _of_cell(text: str, kinds: tuple[type, ...]) -> Any:
    """The number or truth value that a cell of CSV or TSV holds, if one is wanted; None for an empty cell."""
    text = text.strip()
    if not text:
        return None
    if bool in kinds and text.lower() in _BOOLS:
        return _BOOLS[text.lower()]
    if len(text) > 400 or not _NUMBER.fullmatch(text) or not {int, float} & set(kinds):
        return text
    number = float(text) if re.search("[.eE]", text) else int(text)
    return int(number) if float not in kinds and isinstance(number, float) and number.is_integer() else number


def check_grade(where: str, value: Any, remedy: str = "Correct the row.") -> int:
    """A relevance as a whole number. Raises DataError for a fraction, and for one that trec_eval cannot count with."""
    text = value.strip() if isinstance(value, str) else repr(value)
    is_whole = isinstance(value, float) and value.is_integer()
    if isinstance(value, bool) or not (is_whole or re.fullmatch(r"[+-]?[0-9]{1,4000}", text)):
        raise DataError(f"{where}: '{text[:40]}' given, a whole number such as 0 or 1 expected. {remedy}")
    grade = int(value)
    if abs(grade) > _GRADES:
        raise DataError(
            f"{where}: '{text[:40]}' is out of range, a relevance is from -{_GRADES} to {_GRADES}. {remedy}"
        )
    return grade


def check_ids(where: str, values: Any) -> list[str]:
    """A list of ids (texts or whole numbers) as texts. Raises DataError unless it is one, none of them blank."""
    is_list = isinstance(values, list)
    if not is_list or not all((isinstance(value, str) and value.strip()) or type(value) is int for value in values):
        raise DataError(f"{where}: a list of ids is expected, texts that are not blank or whole numbers.")
    return [str(value) for value in values]


def label_text(value: Any) -> str:
    """A label as text: true and false as JSON and YAML write them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_text(file: RawFile, number: int, field: str, text: str) -> None:
    """Raises DataError if nothing of the text is left after normalisation."""
    if is_blank(text):
        raise DataError(f"{file}, row {number}, field '{field}': empty text. Remove the row or fill it in.")
