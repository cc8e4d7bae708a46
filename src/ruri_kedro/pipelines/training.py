"""What every stage of training does, whatever the kind of its model. Torch is imported inside the functions."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kedro.pipeline import Node

from ruri_kedro.datasets.models import HandedOn
from ruri_kedro.models.kinds import KINDS
from ruri_kedro.pipelines.shared import Params, stage_of
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.registry.tracking import step_logger
from ruri_kedro.tables import Table

logger = logging.getLogger(__name__)


def train_stage(
    name: str,
    start: Path,
    examples: Table,
    passages: Table,
    settings: Params,
    run: Params,
    prompts: Mapping[str, str] | None = None,
    teacher: Mapping[tuple[str, str], float] | None = None,
) -> Any:
    """The model in the folder `start`, trained by a stage; the same model, unchanged, where no source takes part in it.

    `teacher` are scores by (query_id, docid). A source that takes part and has no example is an error of the training.
    """
    if not examples.parts():
        logger.info("%s: no source takes part in it. Nothing is trained, the model is handed on unchanged.", name)
        return HandedOn(start)
    kind = KINDS[STAGES[name].kind]
    model = resolve(kind.start)(start, prompts or {}, settings["max_length"], run["seed"])
    given = {"prompts": prompts, "teacher": teacher}
    trained = resolve(kind.train)(
        model,
        examples=examples,
        passages=passages,
        stage=stage_of(name, settings, run),
        on_step=step_logger(name),
        **{argument: given[argument] for argument in kind.trains_with},
    )
    return resolve(kind.finish)(trained) if kind.finish else trained


def work_of(node: Node) -> list[Callable | str]:
    """What does the work of a node: its function and, of a training, what the table of kinds names by address."""
    kinds = [KINDS[stage.kind] for stage in STAGES.values() if stage.node == node.name]
    addresses = [address for kind in kinds for address in (kind.start, kind.train, kind.finish) if address]
    return [node.func, *(address.replace(":", ".") for address in addresses)]
