"""The rows of the parameters `tasks`: what types of task share, and how a row is parsed by its type and shape.

A class with defaults is the one place that has them: the keys of a task are the user's own, none stands in conf/base.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal

from ruri_kedro.benchmark.tasks.types import task_types
from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, parameters, parse, unknown

JudgedShape = Literal["queries", "passages", "topics"]  # of judged queries, see judged_queries.py


@parameters
class HubRow:
    """A data set on the hub, as `corpora.hub.Hub`; `path` are files in it, without one it is read by splits."""

    id: str
    revision: str | None = None
    name: str | None = None
    split: str = "train"
    path: str | None = None
    ref: str | None = None


@parameters
class Place:
    """Where rows are: a path below the raw folder, or a data set on the hub."""

    path: str | None = None
    hub: HubRow | None = None

    def __post_init__(self) -> None:
        if self.path is None and self.hub is None:
            raise RecipeError("path: missing, and there is no hub either. One of them says where the rows are.")


@parameters
class MinedNegatives(Place):
    """The first `count` mined negatives of each query in a file."""

    count: Count


def check_text(fields: Mapping[str, Any] | None) -> None:
    """Labels have one field; a text may be a list of one or more, which are joined. RecipeError for others."""
    for name, given in (fields or {}).items():
        if not given or (name != "text" and not isinstance(given, str)):
            raise RecipeError(f"fields.{name}: the name of a field is expected, or for `text` a list of one or more.")


def parse_task(name: str, row: Any, block: str = "tasks") -> Place:
    """The row of a task. Raises RecipeError with a line for each fault: a key, its value and what is expected."""
    place = f"{block}.{name}"
    if not isinstance(row, Mapping):
        raise RecipeError(f"{place}: {row!r} is given, a block of keys is expected.")
    types = task_types()
    rows = types[_chosen(place, "type", row, types)].rows
    return parse(rows if isinstance(rows, type) else rows[_chosen(place, "shape", row, rows)], row, place)


def parse_tasks(rows: Mapping[str, Any], block: str = "tasks") -> dict[str, Place]:
    """The rows of all tasks of a recipe. Raises one RecipeError with the faults of all."""
    found, faults = {}, []
    for name, row in rows.items():
        try:
            found[name] = parse_task(name, row, block)
        except RecipeError as error:
            faults.append(str(error))
    if faults:
        raise RecipeError("\n".join(faults))
    return found


def parse_development(rows: Mapping[str, Any]) -> dict[str, Place]:
    """The rows of the development data of a recipe, as those of its tasks."""
    return parse_tasks(rows, "development")


def _chosen(place: str, key: str, row: Mapping[str, Any], known: Iterable[str]) -> str:
    """The value of a key on which the others depend."""
    if key not in row:
        near = get_close_matches(key, map(str, row), n=1)
        meant = [f"{place}.{near[0]}: {unknown(near[0], [key])}"] if near else []
        raise RecipeError("\n".join([*meant, f"{place}.{key}: missing. Allowed: {', '.join(known)}."]))
    if row[key] not in list(known):
        raise RecipeError(f"{place}.{key}: '{row[key]}' is not known. Allowed: {', '.join(known)}.")
    return row[key]
