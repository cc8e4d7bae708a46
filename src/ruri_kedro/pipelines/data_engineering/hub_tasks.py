"""Tasks whose data are on the Hugging Face hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.stored_tasks import hub_rows, task_is_stored
from ruri_kedro.corpora.hub import Hub, check_hubs, hub_records
from ruri_kedro.errors import DataError
from ruri_kedro.pipelines.shared import Params
from ruri_kedro.tables.raw import write_rows


def check_tasks(tasks: Params, raw: Path, test_sets: Path) -> None:
    """Raise DataError naming every task whose data are neither stored nor on a hub in reach, and those that can run."""
    wanted: dict[str, list[Hub]] = {}
    missing: dict[str, Exception] = {}
    for name, spec in tasks.items():
        try:
            if not task_is_stored(name, spec, raw, test_sets / name):
                wanted[name] = [Hub(**row) for row in hub_rows(spec)]
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
    """Write the rows of a data set on the hub as a file of JSON Lines."""
    hub = Hub(**row)
    write_rows(path, (record for _, record in hub_records(hub, hub.split, _Everything())))


class _Everything:
    """A collection of names that holds any."""

    def __contains__(self, name: object) -> bool:
        return True
