"""Where a value stands in a record: at `title`, at `answers.ja` in an object, at `answers[].text` in each of a list."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ruri_kedro.errors import DataError
from ruri_kedro.tables.formats import RawFile
from ruri_kedro.tables.raw import Types, check_text, check_type, missing
from ruri_kedro.text.normalize import is_blank

MISSING = object()


@dataclass(frozen=True)
class Field:
    """A field that a kind needs, and where the records of a source have it."""

    name: str
    path: str | None  # None: nowhere
    types: Types  # a list among them: a list of texts, or one text
    may_lack: bool  # records without it are fine
    may_be_blank: bool

    def read(self, file: RawFile, number: int, row: Mapping[str, Any]) -> Any:
        """The value in a record, lists without their nulls; DataError that names file, row and path if it is wrong."""
        value = MISSING if self.path is None else value_at(row, self.path)
        if value is MISSING:
            if self.path is None or self.may_lack:
                return [] if self._is_list else ""
            raise DataError(missing(file, number, self.path, row))
        if value is None and (self.may_be_blank or self._is_list):
            return [] if self._is_list else ""
        value = check_type(file, number, self.path, value, self.types)
        if self._is_list:
            return self._texts(file, number, value)
        if self.types is str and not self.may_be_blank:
            check_text(file, number, self.path, value)
        return value

    @cached_property
    def _is_list(self) -> bool:
        return isinstance(self.types, tuple) and list in self.types

    def _texts(self, file: RawFile, number: int, value: list | str) -> list[str]:
        if isinstance(value, str):  # an empty cell of a CSV file says that there is none
            return [] if is_blank(value) else [value]
        texts = [text for text in value if text is not None]
        for text in texts:
            check_type(file, number, self.path, text, str)
            if not self.may_be_blank:
                check_text(file, number, self.path, text)
        return texts


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """The value at a path; a list for a path with `[]`; MISSING if an object on the way does not have its name.

    A name that holds the whole path, or the longer part of it, comes before one that the path leads through.

    >>> value_at({"answers": {"ja": [{"text": "山"}, {"text": "川"}]}}, "answers.ja[].text")
    ['山', '川']
    >>> value_at({"answers.ja": "山", "answers": {"ja": "川"}}, "answers.ja")
    '山'
    """
    found = row.get(path, MISSING)
    return found if found is not MISSING or not ("." in path or "[" in path) else _walk(row, path.split("."))


def top_level(paths: Iterable[str]) -> set[str]:
    """The names at which paths begin: the columns that have to be read."""
    found = set()
    for path in paths:
        steps = path.split(".")
        for cut in range(1, len(steps) + 1):
            name = ".".join(steps[:cut])
            found |= {name, name.removesuffix("[]")}
    return found


def unfold(row: Mapping[str, Any], paths: Sequence[str], where: str = "the record") -> Iterator[Mapping[str, Any]]:
    """One record per element of the lists at the paths, the outer list first; the element takes the list's place.

    Raises DataError, which names the place `where`, for what is neither a list nor null.

    >>> [row["q"]["a"] for row in unfold({"q": [{"a": [1, 2]}, {"a": [3]}]}, ["q", "q.a"])]
    [1, 2, 3]
    """
    if not paths:
        yield row
        return
    found = value_at(row, paths[0])
    if found is MISSING:
        # The path stays as it is, and the check of the fields below it says what is missing.
        yield row
        return
    if not isinstance(found, list | None):
        raise DataError(
            f"{where}, field '{paths[0]}': {type(found).__name__} given, list expected. Correct the row, or `unfold`."
        )
    for element in found or ():
        yield from unfold(_with(row, paths[0].split("."), element), paths[1:], where)


def _walk(value: Any, steps: Sequence[str]) -> Any:
    if not steps:
        return value
    if not isinstance(value, Mapping):
        return None if value is None else MISSING
    name, is_each, rest = _named(value, steps)
    if name is None:
        return MISSING
    if not is_each:
        return _walk(value[name], rest)
    if not isinstance(value[name], list | None):
        return MISSING
    found = [_walk(element, rest) for element in value[name] or ()]
    return MISSING if MISSING in found else found


def _named(value: Mapping[str, Any], steps: Sequence[str]) -> tuple[str | None, bool, Sequence[str]]:
    """(the longest name in an object that the steps begin with, whether `[]` follows it, the steps behind it)."""
    for cut in range(len(steps), 0, -1):
        name = ".".join(steps[:cut])
        if name in value:
            return name, False, steps[cut:]
        if name.endswith("[]") and name[:-2] in value:
            return name[:-2], True, steps[cut:]
    return None, False, steps


def _with(row: Mapping[str, Any], steps: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of the record with another value at the path, at which it has one."""
    name, _, rest = _named(row, steps)
    return {**row, name: _with(row[name], rest, value) if rest else value}
