"""The development data of a training: pairs of sentences with scores, which are no test."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruri_kedro.benchmark.tasks.stored import stored_task
from ruri_kedro.benchmark.tasks.sts import StsTask

if TYPE_CHECKING:
    from ruri_kedro.training.development import DevelopmentPairs


def development_pairs(settings: Mapping[str, Any], block: str, folder: Path) -> "DevelopmentPairs | None":
    """The pairs that a training's parameters `<block>.development` ask for; None where they ask for none.

    `folder` has the stored tasks of the parameters `development`.
    """
    if settings["development"] is None:
        return None
    from ruri_kedro.training.development import DevelopmentPairs

    task: StsTask = stored_task(folder, settings["development"]["task"])
    return DevelopmentPairs(task.texts1, task.texts2, task.scores)


def development_fault(settings: Mapping[str, Any], block: str, known: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What is wrong with the task that `<block>.development` names among the parameters `development`, as a line."""
    if not settings.get("development"):
        return None
    name, place = settings["development"]["task"], f"{block}.development.task"
    if name not in known:
        there = ", ".join(sorted(known)) or "none"
        return f"{place}: '{name}' is not one of the parameters `development`. There are: {there}."
    if known[name].get("type") != "sts":
        return f"{place}: '{name}' is a task of type {known[name].get('type')}, and pairs with scores (sts) are needed."
    return None
