"""The rows of a source under the names its kind uses: read, checked, selected, put together."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

from ruri_kedro.corpora.fields import MISSING, Field, top_level, unfold, value_at
from ruri_kedro.corpora.hub import Hub, check_hubs, hub_errors, hub_files, hub_records
from ruri_kedro.corpora.kinds import BLANK_FIELDS, KINDS, OPTIONAL_FIELDS
from ruri_kedro.corpora.removed import Removed
from ruri_kedro.corpora.shapes import SHAPES, Row
from ruri_kedro.corpora.source import Input, Source
from ruri_kedro.errors import DataError, RuriError
from ruri_kedro.tables.formats import RawFile
from ruri_kedro.tables.raw import Types, check_type, missing, raw_files
from ruri_kedro.text.normalize import is_blank
from ruri_kedro.text.words import join_words

Fields = dict[str, Any]


def check_sources(sources: Mapping[str, Source], root: Path) -> None:
    """Read the first row of every source. Raises one DataError with a line for each that cannot be used."""
    refused = check_hubs([hub for source in sources.values() for hub in source.hub])
    problems = []
    for source in sources.values():
        try:
            for place in source.inputs:
                if place.hub in refused:
                    raise refused[place.hub]
                check_first_row(source, root, place)
        except RuriError as error:
            problems.append(f"  {source.name}: {error}")
    if problems:
        raise DataError("\n".join([f"{len(problems)} of {len(sources)} sources cannot be read.", *problems]))


def check_first_row(source: Source, root: Path, place: Input) -> None:
    """Read the first row of one of the source's inputs. Raises DataError unless it has the fields asked for."""
    # With all columns, so that an error names those that are there.
    if next(_checked(source, root, place, everything=True), None) is None:
        raise DataError(f"{place}: there is no row. Fetch the file again, or drop the source.")


def source_files(source: Source, root: Path) -> list[Path]:
    """The local files a source is read from; what is on the hub is known by its revision."""
    found: list[Path] = []
    for place in source.inputs:
        if place.hub is None:
            found += _files(source, root, place)
        elif place.hub.is_local:
            patterns = place.paths or ("**/*",)
            found += [path for pattern in patterns for path in Path(place.hub.id).glob(pattern) if path.is_file()]
    return sorted(found)


def read_source(source: Source, root: Path, place: Input, removed: Removed | None = None) -> Iterator[Fields]:
    """The rows of one of the source's inputs, those that it selects, under the names its kind uses.

    What the source does not select is counted in `removed`.
    """
    rows = (row for _, row in _selected(source, root, place, removed or Removed()))
    if source.segmented:
        rows = (_put_together(row) for row in rows)
    return _joined(rows, source.paragraphs) if source.paragraphs > 1 else rows


def _records(source: Source, root: Path, place: Input, everything: bool = False) -> Iterator[Row]:
    """The records of an input as they are published, unfolded; of a hub's splits the columns asked for, or all."""
    columns = top_level([*_paths(source, place), *source.unfold])
    if place.split and everything:
        found: Iterator[Row] = ((place, number, row) for number, row in hub_records(place.hub, place.split, None))
    elif place.split:
        found = ((place, number, row) for number, row in hub_records(place.hub, place.split, columns))
    else:
        found = SHAPES[source.shape](_files(source, root, place), columns, source.header)
    for file, number, row in _said_clearly(place.hub, found):
        yield from ((file, number, element) for element in unfold(row, source.unfold, f"{file}, row {number}"))


def _files(source: Source, root: Path, place: Input) -> list[RawFile]:
    """The files that the paths of an input name."""
    folder = source.folder(root)
    named = (hub_files(place.hub, path) if place.hub else raw_files(folder, path) for path in place.paths)
    return list(dict.fromkeys(chain.from_iterable(named)))


def _said_clearly(hub: Hub | None, rows: Iterator[Row]) -> Iterator[Row]:
    if hub is None:
        yield from rows
        return
    with hub_errors(hub):
        yield from rows


def _paths(source: Source, place: Input) -> list[str]:
    """Where in a record everything stands that the source asks for."""
    named = [source.fields.get(name, name) for name in KINDS[source.kind].fields]
    return [*filter(None, named), *place.where, *place.exclude, *source.drop_lowest]


def _checked(source: Source, root: Path, place: Input, everything: bool = False) -> Iterator[tuple[Row, Fields]]:
    """(record, its fields under the kind's names) with types, and texts that are not blank."""
    fields = [_field(source, name, types) for name, types in KINDS[source.kind].fields.items()]
    asked = (*place.where, *place.exclude, *source.drop_lowest)
    for file, number, row in _records(source, root, place, everything):
        for path in asked:
            if value_at(row, path) is MISSING:
                raise DataError(missing(file, number, path, row))
        yield (file, number, row), {field.name: field.read(file, number, row) for field in fields}


def _field(source: Source, name: str, types: Types) -> Field:
    """Where and how the source has one of the kind's fields. With a filter texts may be blank: it drops them."""
    is_optional = name in OPTIONAL_FIELDS
    return Field(
        name=name,
        path=source.fields.get(name, name),
        types=types,
        may_lack=is_optional and name not in source.fields,
        may_be_blank=name in BLANK_FIELDS or source.filter is not None,
    )


def _selected(source: Source, root: Path, place: Input, removed: Removed) -> Iterator[tuple[Row, Fields]]:
    """The rows that `where`, `drop_lowest` and `exclude` leave. Raises DataError if a pattern excludes nothing.

    What is excluded is not to be trained on: a pattern that no row has is one that does not fit the file's values.
    """
    tests = [("where", _is_one_of(path, value)) for path, value in place.where.items()]
    tests += [("drop_lowest", _is_at_least(path, _quantile(source, root, place, path))) for path in source.drop_lowest]
    unused = {path: re.compile(pattern) for path, pattern in place.exclude.items()}
    patterns = dict(unused)
    for row, found in _checked(source, root, place):
        matches = [path for path, pattern in patterns.items() if _matches(pattern, value_at(row[2], path))]
        for path in matches:
            unused.pop(path, None)
        removed.rows += 1
        refused = next((rule for rule, test in tests if not test(row)), "exclude" if matches else None)
        if refused is None:
            yield row, found
        else:
            removed.add(refused)
    for path, pattern in unused.items():
        raise DataError(f"{place}: no row has '{pattern.pattern}' in '{path}'. Look at its values, or drop `exclude`.")


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    """Whether a value has a match of the pattern; what is null has none."""
    return value is not None and pattern.search(str(value)) is not None


def _is_one_of(path: str, wanted: Any) -> Callable[[Row], bool]:
    values = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    # 1 == True in Python; in a file they are not the same. A whole number may be written as a fraction.
    kinds = (kind for value in values for kind in ((int, float) if type(value) in (int, float) else (type(value),)))
    types = tuple(dict.fromkeys([*kinds, type(None)]))

    def test(row: Row) -> bool:
        return check_type(row[0], row[1], path, value_at(row[2], path), types) in values

    return test


def _is_at_least(path: str, least: float) -> Callable[[Row], bool]:
    return lambda row: float(value_at(row[2], path)) >= least


def _quantile(source: Source, root: Path, place: Input, path: str) -> float:
    """The number below which the lowest share lies; read in a pass of its own."""
    import numpy as np

    numbers = []
    for file, number, row in _records(source, root, place):
        value = value_at(row, path)
        if value is MISSING:
            raise DataError(missing(file, number, path, row))
        numbers.append(check_type(file, number, path, value, (float, int)))
    return float(np.quantile(numbers, source.drop_lowest[path])) if numbers else 0.0


def _put_together(row: Fields) -> Fields:
    return {name: join_words(value.split()) if isinstance(value, str) else value for name, value in row.items()}


def _joined(rows: Iterable[Fields], count: int) -> Iterator[Fields]:
    """Rows with the texts of `count` consecutive ones of the same title and section; the last may have fewer.

    Blank texts, which only a source with a filter may have, do not count.
    """
    filled = (row for row in rows if not is_blank(row["text"]))
    for _, section in groupby(filled, key=lambda row: (row["title"], row["section"])):
        while block := list(islice(section, count)):
            yield {**block[0], "text": "\n".join(row["text"] for row in block)}
