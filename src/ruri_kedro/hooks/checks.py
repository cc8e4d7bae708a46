"""What would stop a run after hours is looked for before it starts.

What takes long to import is imported inside the functions: Kedro imports this module for every command.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from omegaconf.errors import KeyValidationError

from ruri_kedro.errors import RecipeError
from ruri_kedro.hooks.refusal import fail
from ruri_kedro.recipe.objectives import TAUGHT
from ruri_kedro.recipe.parse import meant
from ruri_kedro.recipe.stages import (
    MINING,
    STAGES,
    Stage,
    is_trained,
    mined_stages,
    registered_models,
    registered_names,
    rows_of,
    takes_part,
)
from ruri_kedro.text.names import check_name, check_names

# Nodes that load a model of another's making, by their names without that of the pipeline: the parameters that name the
# model, and where in them.
_MODELS = (
    ("make_base_model", "base_model", None),
    ("make_base_model", "base_model", "add_vocabulary"),
    ("consistency", "consistency", "encoder"),
    ("embed", "mining.supervised", "encoder"),
    ("score_with_teacher", "finetuning", "teacher"),
)


logger = logging.getLogger(__name__)


class CheckHooks:
    """Refuses a run whose parameters are at fault, whose models cannot be loaded or whose trainings cannot start."""

    _given: frozenset[str] = frozenset()  # top-level names of --params

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Raise RecipeError for a name in the recipe that cannot be one, before a run or a command does anything."""
        self._given = frozenset(getattr(context.config_loader, "runtime_params", None) or {})
        try:
            check_recipe_names(context.config_loader["parameters"])
        except KeyValidationError as error:
            place = str(error).partition("full_key: ")[2].partition("\n")[0] or "parameters"
            fail(RecipeError(f"{place}: a name is missing, or YAML reads it as null. Write the name in quotes."))
        except MissingConfigException:
            return
        except RecipeError as error:
            fail(error)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Raise one RecipeError that names every fault."""
        from ruri_kedro.recipe.blocks import faults_in

        names = {node.short_name for node in pipeline.nodes}
        own = self._given | _parameters_of([pipeline, *pipelines.values()])
        faults = list(faults_in(catalog.load("parameters"), own)) if "parameters" in catalog else []
        faults += [*_models(names, catalog), *_teachers(names, catalog)]
        if not faults:  # what follows takes parameters that are as they should be, and the last torch
            faults += [*_mining(names, catalog), *_trainings(names, catalog)]
        if faults:
            # A value that stands in two places of a recipe, as `${run.device}`, has the fault in both.
            lines = [f"  {line}" for line in dict.fromkeys(faults)]
            fail(RecipeError("\n".join(["The run cannot start, the parameters are at fault.", *lines])))


def check_recipe_names(params: Mapping[str, Any]) -> None:
    """Raise RecipeError for the first name in the blocks of a recipe that cannot be one."""
    from ruri_kedro.benchmark.tasks.specs import check_task_names

    tables = _block(params, "ablations", "tables")
    blocks = {
        "sources": _block(params, "sources"),
        "_sizes": _block(params, "_sizes"),
        "synthesis.sets": _block(params, "synthesis", "sets"),
        "ablations.tables": tables,
        **{f"ablations.tables.{name}.cells": _block(tables, name, "cells") for name in tables},
    }
    for place, names in blocks.items():
        check_names(place, names)
    tasks, development = (_block(params, name) for name in ("tasks", "development"))
    check_task_names(tasks)
    check_names("development", development, dict.fromkeys(tasks, "a test of the block `tasks`"))
    if "recipe" in params:
        check_name("recipe", params["recipe"])
        _check_registered(params["recipe"], _block(params, "promotion"))


def _check_registered(recipe: str, promotion: Mapping[str, Any]) -> None:
    """Raise RecipeError where a registered model of the recipe has a name that another one has."""
    from ruri_kedro.registry.promotion.rules import released_name

    named = registered_names(recipe)
    for model, other, begin in _same_beginnings():
        if recipe.casefold().startswith(begin):
            raise RecipeError(
                f"recipe: '{recipe}' would register its {model} as {named[model]}, the name of another recipe's "
                f"{other}. Choose a name that does not begin with '{begin}'."
            )
    own = set(named.values())
    if "model" not in promotion:
        return
    model, released = promotion["model"], released_name(promotion, promotion["model"])
    if released != model and released in own:
        raise RecipeError(f"promotion.released: '{released}' is the recipe's other model. Choose another name.")
    before, mark, after = (promotion.get("released") or "").partition("{model}")
    if mark and (before or after) and model.startswith(before) and model.endswith(after):
        raise RecipeError(
            f"recipe: its model '{model}' has a name that promotion.released ({promotion['released']}) gives to the "
            "released model of another recipe. Choose another name for the recipe."
        )


def _same_beginnings() -> Iterator[tuple[str, str, str]]:
    """Two registered models, and with what a recipe's name must not begin so that they never have the same name."""
    before = {model: str(row.registered_as).partition("{")[0] for model, row in registered_models().items()}
    for model, short in before.items():
        for other, long in before.items():
            if long != short and long.startswith(short):
                yield model, other, long.removeprefix(short)


def _block(params: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A block of parameters; an empty one where there is none, or no block, which its own parser refuses."""
    found: Any = params
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _parameters_of(known: Iterable[Pipeline | None]) -> set[str]:
    """The names at the top level of the parameters that some node reads: a project may have nodes of its own."""
    read = {name for pipeline in known if pipeline for name in pipeline.inputs() if name.startswith("params:")}
    return {name.removeprefix("params:").partition(".")[0] for name in read}


def _models(nodes: set[str], catalog: CatalogProtocol) -> Iterator[str]:
    """What is wrong with the models that the nodes load."""
    from ruri_kedro.models.reference import EncoderReference  # with it comes pyarrow

    for parameters, key in (place for node, *place in _MODELS if node in nodes):
        block = catalog.load(f"params:{parameters}")
        row = block.get(key) if key and isinstance(block, Mapping) else block
        if not isinstance(row, Mapping):
            continue  # which the parser of the block tells
        try:
            EncoderReference.of(row, Path())
        except RecipeError as error:
            yield f"{parameters if key is None else f'{parameters}.{key}'}: {error}"


def _mining(nodes: set[str], catalog: CatalogProtocol) -> Iterator[str]:
    """What is wrong between the rules of mining and how the sources take part in the stages."""
    from ruri_kedro.corpora.source import parse_sources
    from ruri_kedro.mining.drawing import check_mining

    for block in MINING:
        stages = mined_stages(block)
        if not nodes & {f"choose_{stage}_examples" for stage in stages}:
            continue
        sources, mining = catalog.load("params:sources"), catalog.load("params:mining")
        try:
            check_mining(parse_sources(sources).values(), stages, mining[block])
        except RecipeError as error:
            yield str(error)


def _trainings(nodes: set[str], catalog: CatalogProtocol) -> Iterator[str]:
    """What is wrong with the trainings of the nodes."""
    from ruri_kedro.benchmark.development import development_fault
    from ruri_kedro.training.stages import stage_of

    sources = catalog.load("params:sources") if "params:sources" in catalog else None
    trained = [stage for stage in STAGES.values() if stage.node in nodes]
    if trained and sources is not None and not any(takes_part(stage, sources) for stage in STAGES):
        base = catalog.load("params:base_model") if "params:base_model" in catalog else {}
        if base.get("name") or base.get("package"):
            logger.warning("sources: none takes part in any stage. The base model is evaluated as it is.")
            return
        yield (
            "sources: none takes part in any stage, so nothing would be trained. Give one a block `stages`, and see "
            "that the sources are those of this recipe."
        )
    for stage in trained:
        if sources is not None and not takes_part(stage.name, sources):
            continue
        settings, run = (catalog.load(name) for name in (f"params:{stage.block}", "params:run"))
        known = catalog.load("params:development") if "params:development" in catalog else {}
        if fault := development_fault(settings, stage.block, known):
            yield fault
        try:
            stage_of(stage.name, settings, run).check()
        except RecipeError as error:
            yield from str(error).splitlines()
        yield from _batches(stage, settings, sources or {})
        merging = settings.get("merging") or {}
        if merging.get("method") == "slerp" and find_spec("mergekit") is None:
            yield f"{stage.block}.merging: slerp needs mergekit: pip install 'ruri-kedro[merging]'."


def _batches(stage: Stage, settings: Mapping[str, Any], sources: Mapping[str, Any]) -> Iterator[str]:
    """The sources of whose batches the stage says something, but that take no part in it."""
    part = [name for name, source in sources.items() if rows_of(source, stage.name)]
    for name in settings.get("batch_by") or {}:
        if name not in part:
            yield f"{stage.block}.batch_by: '{name}' takes no part in this stage. {meant(name, part)}"


def _teachers(nodes: set[str], catalog: CatalogProtocol) -> Iterator[str]:
    """The sources of a stage that learn from a teacher, where the recipe neither trains nor names one."""
    sources = catalog.load("params:sources") if "params:sources" in catalog else {}
    for stage in STAGES.values():
        if stage.node not in nodes or stage.teacher is None or is_trained(stage.teacher, sources):
            continue
        taught = [
            name
            for name, source in sources.items()
            for row in rows_of(source, stage.name)
            if stage.objective_of(row) in TAUGHT
        ]
        if taught and not catalog.load(f"params:{stage.block}")["teacher"]["name"]:
            yield (
                f"{stage.block}.teacher.name: null, but no source takes part in the training of a {stage.teacher}, "
                f"and {', '.join(dict.fromkeys(taught))} learn from a teacher ({' or '.join(TAUGHT)}). Name a "
                f"model, or give the sources the objective {stage.objectives[0]}."
            )
