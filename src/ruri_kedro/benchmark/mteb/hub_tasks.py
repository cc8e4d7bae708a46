"""Tests whose data are on the Hugging Face hub: a recipe's own tasks, and mteb's benchmarks.

mteb is imported inside the functions: a recipe that is tested on none of its benchmarks does not wait for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.tasks.rows import HubRow
from ruri_kedro.benchmark.tasks.stored import hub_rows, task_is_stored
from ruri_kedro.corpora.hub import Hub, check_hubs, hub_errors, hub_files, hub_records
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import Part
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.formats import read_records
from ruri_kedro.tables.raw import missing, write_rows
from ruri_kedro.tables.store import blocks, key_of


def check_tasks(tasks: Params, raw: Path, test_sets: Path) -> None:
    """Raise DataError naming every task whose data are neither stored nor on a hub in reach, and those that can run."""
    wanted: dict[str, list[Hub]] = {}
    missing: dict[str, Exception] = {}
    for name, spec in tasks.items():
        try:
            if not task_is_stored(name, spec, raw, test_sets / name):
                wanted[name] = [_hub(row) for row in hub_rows(spec)]
        except DataError as error:  # of a file that is not there
            missing[name] = error
    problems = check_hubs({hub for hubs in wanted.values() for hub in hubs})
    missing |= {name: problems[hub] for name, hubs in wanted.items() for hub in hubs if hub in problems}
    if missing:
        lines = "\n".join(f"  {name}: {missing[name]}" for name in tasks if name in missing)
        ready = ", ".join(name for name in tasks if name not in missing) or "none"
        raise DataError(
            f"the data of {len(missing)} of {len(tasks)} tasks cannot be had:\n{lines}\nCan run: {ready}. Leave the "
            "others out of the parameters `tasks`, or give them paths."
        )


def fetch_rows(row: Mapping[str, Any], path: Path) -> None:
    """Write the rows of a data set on the hub, or of its files that `row.path` fits, as a file of JSON Lines."""
    write_rows(path, (record for _, _, record in _records(row)))


def check_fields(spec: Mapping[str, Any]) -> None:
    """Read the first row of a task's data sets on the hub. Raises DataError for a field named there that it has not."""
    if "hub" in spec:
        file, number, record = next(_records(spec["hub"]), (spec["hub"]["id"], 0, {}))
        for named in (spec.get("fields") or {}).values():
            for field in [named] if isinstance(named, str) else named:
                if field not in record:
                    raise DataError(missing(file, number, field, record))
    for value in spec.values():
        if isinstance(value, Mapping):
            check_fields(value)


def _records(row: Mapping[str, Any]) -> Iterator[tuple[Any, int, Mapping[str, Any]]]:
    """(file or data set, number, record) of a data set on the hub, as its row has it."""
    hub, pattern = _hub(row), row.get("path")
    if not pattern:
        yield from ((hub, number, record) for number, record in hub_records(hub, hub.split, None))
        return
    for file in hub_files(hub, pattern):
        with hub_errors(hub):
            yield from ((file, number, record) for number, record in read_records(file))


def check_benchmarks(names: list[str], own: Iterable[str]) -> None:
    """Raise RecipeError for a benchmark that mteb does not have, DataError where data of its tasks cannot be had.

    RecipeError also where one of the recipe's `own` tasks is named like one of mteb's.
    """
    if not names:
        return
    check_namesakes("tasks", own, names)
    found = _benchmark_tasks(names)
    from ruri_kedro.benchmark.mteb.tasks import check_data, hub_reachable

    try:
        check_data(found.values(), hub_reachable())
    except DataError as error:
        raise DataError(f"{error} They are tests of the recipe (`tested_on`): an empty list has none.") from error


def check_namesakes(block: str, own: Iterable[str], names: list[str]) -> None:
    """Raise RecipeError where a task of a block is named like one of the benchmarks: both are parts of one table."""
    if names and (same := sorted(_benchmark_tasks(names).keys() & set(own))):
        raise RecipeError(f"{block}.{same[0]}: a task of {', '.join(names)} (`tested_on`) has this name. Rename yours.")


def benchmark_texts(names: list[str]) -> dict[str, Part]:
    """The table test_texts of mteb's benchmarks, a part per task."""
    return {name: _texts_part(task) for name, task in _benchmark_tasks(names).items()} if names else {}


def _benchmark_tasks(names: list[str]) -> dict[str, Any]:
    from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks

    return {task.metadata.name: task for name in names for task in benchmark_tasks(name)}


def _texts_part(task: Any) -> Part:
    def rows() -> Iterator[list[dict]]:
        from ruri_kedro.benchmark.mteb.tasks import fresh
        from ruri_kedro.benchmark.mteb.texts import mteb_texts

        loaded = fresh(task)
        loaded.load_data()
        return blocks(mteb_texts(loaded))

    read = [dict(task.metadata.dataset), list(task.hf_subsets), list(task.eval_splits)]
    return Part(key_of(task=task.metadata.name, read=read, code=behaviour_digest(_texts_part)), rows)


def _hub(row: Mapping[str, Any]) -> Hub:
    """The data set of a row {id, revision, [name, split] or [path]}; RecipeError for any other key."""
    found = parse(HubRow, row, "tasks.*.hub")
    return Hub(found.id, found.revision, found.name, found.split, found.ref)
