"""What every stage of training does, whatever the kind of its model. Torch is imported inside the functions."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.datasets.models import HandedOn
from ruri_kedro.errors import RecipeError
from ruri_kedro.models.kinds import Kind, kind_in
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.recipe.stages import Stage as StageOfRecipe
from ruri_kedro.tables import Table
from ruri_kedro.training.settings import RunSettings

logger = logging.getLogger(__name__)


def stage_of(name: str, settings: Params, run: Params) -> Any:
    """A training stage from its parameters and those of the run: seed, devices, threads, checkpoints ..."""
    stage = STAGES[name]
    training, shared = parse(resolve(stage.settings), settings, stage.block), parse(RunSettings, run, "run")

    import torch

    from ruri_kedro.training.run import Stage

    torch.set_num_threads(min(shared.threads, os.cpu_count() or 1))
    return Stage(
        name, training, shared.seed, shared.device, Path(shared.checkpoints), shared.watch, shared.devices,
        shared.held_out, shared.allow_untrained,
    )  # fmt: skip


def training_of(stage: StageOfRecipe, kind: Kind) -> tuple[Callable, tuple[str, ...]]:
    """What trains a model of a kind in a stage, and what it takes by name beside what all trainings take."""
    if stage.train is not None:
        return resolve(stage.train), stage.trains_with
    return resolve(kind.train), kind.trains_with


def train_stage(
    name: str,
    start: Path,
    examples: Table,
    passages: Table,
    settings: Params,
    run: Params,
    step_logger: Callable[[str], Callable],
    prompts: Mapping[str, str] | None = None,
    teacher: Mapping[tuple[str, str], float] | None = None,
    source_prompts: Mapping[str, Mapping[str, str]] | None = None,
    training_head: str | None = None,
    development: Any = None,
    base_model: Params | None = None,
) -> Any:
    """The model in the folder `start`, trained by a stage; the same model, unchanged, where no source takes part in it.

    `step_logger` gives the function that is told the figures of each step; `teacher` are scores by (query_id, docid),
    `source_prompts` the prompts by role of sources that have their own, `training_head` names a layer that the model
    has in training only, `development` are the pairs of the stage's own `development`, `base_model` the parameters of
    this name. A source that takes part and has no example is an error of the training.
    """
    if not examples.parts():
        logger.info("%s: no source takes part in it. Nothing is trained, the model is handed on unchanged.", name)
        return HandedOn(start)
    kind = kind_in(start, STAGES[name].kind)
    if settings.get("development") and "development" not in kind.trains_with:
        raise RecipeError(f"{STAGES[name].block}.development: a {kind.name} is not measured. Set it to null.")
    model = resolve(kind.start)(start, prompts or {}, settings["max_length"], run["seed"])
    given = {
        "prompts": prompts,
        "source_prompts": source_prompts,
        "teacher": teacher,
        "training_head": training_head,
        "development": development,
        "base_model": base_model,
    }
    train, trains_with = training_of(STAGES[name], kind)
    trained = train(
        model,
        examples=examples,
        passages=passages,
        stage=stage_of(name, settings, run),
        on_step=step_logger(name),
        **{argument: given[argument] for argument in trains_with},
    )
    return resolve(kind.finish)(trained) if kind.finish else trained
