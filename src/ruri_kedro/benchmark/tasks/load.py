"""A task, read from its row of parameters, and the texts of it that training must not have seen."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.tasks.rows import parse_task
from ruri_kedro.benchmark.tasks.types import task_types, type_of
from ruri_kedro.text.names import check_name


def load_task(name: str, spec: Mapping[str, Any], raw_root: Path) -> Any:
    """The task that a parameter row describes; all paths are below `raw_root`, all texts are normalised.

    The keys of a type are the fields of the class, or classes by `shape`, that the module of the type has for its row.
    `fields` gives the names the file has for them; a `text` may be a list of fields, which are joined by a space.
    Labels become strings. Raises RecipeError for a type, shape or key that is not known, DataError for rows that do
    not fit.
    """
    check_name("tasks", name)
    parse_task(name, spec)
    return task_types()[spec["type"]].read(name, spec, Path(raw_root))


def test_texts(task: Any) -> Iterator[dict]:
    """Rows of TEST_TEXTS: what a leak is looked for in.

    Types with queries: role 'query' and, right behind it, 'positive' for each of its positives (both with item_id =
    qid), then 'passage' for the whole corpus (item_id = docid). Other types: role 'text' for each distinct text of the
    test part (item_id = its number).
    """
    for role, item_id, text in type_of(task).texts(task):
        yield {"test": task.name, "role": role, "item_id": item_id, "text": text}
