"""The names of tasks, and the raw rows that a task names; each error names the file and the row."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.runs import check_id
from ruri_kedro.benchmark.tasks.types import task_types
from ruri_kedro.errors import DataError
from ruri_kedro.tables.raw import check_grade, check_ids, label_text, raw_files, read_rows
from ruri_kedro.text.names import check_names
from ruri_kedro.text.normalize import normalize

Fields = Mapping[str, type | tuple[type, ...]]

NULLABLE = (str, type(None))  # a title that may be null
LABEL = (str, int, bool)
RERANKING_SUFFIX = "_rerank"  # behind a retrieval task's name: the order of its candidates, a task of its own


def check_task_names(tasks: Mapping[str, Any]) -> None:
    """Raise RecipeError for a name in the block `tasks` that cannot be one, or that another task's reordering has."""
    types = {name: task_types().get(str(spec.get("type"))) for name, spec in tasks.items() if isinstance(spec, Mapping)}
    reordered = {
        f"{name}{kind.search.suffix}": f"the reordering of the candidates of '{name}'"
        for name, kind in types.items()
        if kind and kind.search and kind.search.suffix
    }
    check_names("tasks", tasks, reordered)


def with_fields(spec: Mapping[str, Any], known: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """The name that each of the `known` fields has in the files: the one in `fields`, else its own.

    `optional` fields are there only where `fields` names them.
    """
    return {name: name for name in known if name not in optional} | dict(spec.get("fields") or {})


def raw_rows(root: Path, path: str, fields: Fields) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and row, row) for each row of the file or folder `path` below `root`; DataError as `read_rows`."""
    for file in raw_files(root, path):
        yield from ((f"{file}, row {number}", row) for number, row in read_rows(file, fields))


def clean(where: str, field: str, text: str) -> str:
    """The normalised text; DataError where nothing is left of it."""
    cleaned = normalize(text)
    if not cleaned:
        raise DataError(f"{where}, field '{field}': no text is left after normalisation. Remove the row.")
    return cleaned


def put(table: dict[str, Any], where: str, field: str, key: str, value: Any) -> None:
    """Add `key` to `table`; DataError where it is there already."""
    if key in table:
        raise DataError(f"{where}, field '{field}': '{key}' occurs twice. Ids are unique.")
    table[key] = value


def read_id(where: str, field: str, value: str | int) -> str:
    """An id as text; DataError where runs and judgments could not hold it."""
    check_id(f"{where}, field '{field}'", str(value))
    return str(value)


def read_ids(where: str, field: str, values: Any) -> tuple[str, ...]:
    """A list of ids; DataError for what is not one."""
    return tuple(read_id(where, field, value) for value in check_ids(f"{where}, field '{field}'", values))


def read_grades(where: str, fields: tuple[str, str], row: Mapping[str, Any]) -> dict[str, int]:
    """Relevance by docid of two lists of a row; DataError where they do not fit each other."""
    docids, grades = read_ids(where, fields[0], row[fields[0]]), row[fields[1]]
    if len(docids) != len(grades):
        raise DataError(f"{where}: {len(docids)} in '{fields[0]}', {len(grades)} in '{fields[1]}'. Correct the row.")
    found: dict[str, int] = {}
    for docid, grade in zip(docids, grades, strict=True):
        put(found, where, fields[0], docid, check_grade(f"{where}, field '{fields[1]}'", grade))
    return found


def text_pairs(spec: Mapping[str, Any], root: Path, values: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and row, {text1, text2, the `values`}) of a file of pairs; `values` are other fields with their types."""
    names = with_fields(spec, ("text1", "text2", *values))
    types = {"text1": str, "text2": str, **values}
    for where, row in raw_rows(root, spec["path"], {names[key]: kind for key, kind in types.items()}):
        texts = {key: clean(where, names[key], row[names[key]]) for key in ("text1", "text2")}
        yield where, texts | {key: row[names[key]] for key in values}


def sides_of(rows: list[dict[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The first and the second texts of pairs."""
    return tuple(row["text1"] for row in rows), tuple(row["text2"] for row in rows)


def labelled_rows(spec: Mapping[str, Any], root: Path, part: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(texts, labels) of the file or folder that key `part` names; labels become strings."""
    names = with_fields(spec, ("text", "label"))
    columns = [names["text"]] if isinstance(names["text"], str) else names["text"]
    texts, labels = [], []
    for where, row in raw_rows(root, spec[part], dict.fromkeys(columns, str) | {names["label"]: LABEL}):
        texts.append(clean(where, " + ".join(columns), " ".join(row[column] for column in columns)))
        labels.append(label_text(row[names["label"]]))
    return tuple(texts), tuple(labels)


def distinct_texts(texts: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Role 'text', its number and the text for each distinct text of a task's test part."""
    for number, text in enumerate(dict.fromkeys(texts)):
        yield "text", str(number), text
