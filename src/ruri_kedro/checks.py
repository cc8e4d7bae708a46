"""What would stop a run after hours is looked for before it starts. Torch is imported inside the functions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from omegaconf.errors import KeyValidationError

from ruri_kedro.benchmark.specs import check_task_names
from ruri_kedro.dry_run import TRAININGS
from ruri_kedro.encoders.precision import check_precision
from ruri_kedro.errors import RecipeError
from ruri_kedro.hooks import fail
from ruri_kedro.pipelines.shared import stage_of
from ruri_kedro.registry.promotion import released_name
from ruri_kedro.text.names import check_name, check_names

# Nodes that load a model of another's making: the parameters that name it, and where in them.
_MODELS = {
    "make_base_model": ("base_model", None),
    "consistency": ("consistency", "encoder"),
    "supervised.embed": ("mining.supervised", "encoder"),
    "score_with_teacher": ("finetuning", "teacher"),
}
_ENCODES = {"consistency", "supervised.embed"}  # nodes that read `encoding`
_RERANKER = "reranker-"  # recipe x registers ruri-x and ruri-reranker-x


class CheckHooks:
    """Refuses a run whose models cannot be loaded or whose trainings cannot start, as far as the recipe tells."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Raise RecipeError for a name in the recipe that cannot be one, before a run or a command does anything."""
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
        names = {node.name for node in pipeline.nodes}
        if faults := [*_models(names, catalog), *_encoding(names, catalog), *_trainings(names, catalog)]:
            fail(RecipeError("\n".join(["The run cannot start, the recipe is not complete.", *faults])))


def check_recipe_names(params: Mapping[str, Any]) -> None:
    """Raise RecipeError for the first name in the blocks of a recipe that cannot be one."""
    blocks: dict[str, Any] = {name: params[name] for name in ("sources", "sizes") if params.get(name)}
    blocks["synthesis.sets"] = params.get("synthesis", {}).get("sets", {})
    blocks["ablations.tables"] = tables = params.get("ablations", {}).get("tables", {})
    blocks |= {f"ablations.tables.{name}.cells": row.get("cells", {}) for name, row in tables.items()}
    for place, names in blocks.items():
        check_names(place, names)
    check_task_names(params.get("tasks") or {})
    if "recipe" in params:
        check_name("recipe", params["recipe"])
        if params["recipe"].casefold().startswith(_RERANKER):
            raise RecipeError(
                f"recipe: '{params['recipe']}' would register its embedder as ruri-{params['recipe']}, the name of "
                f"another recipe's reranker. Choose a name that does not begin with '{_RERANKER}'."
            )
    if "model" in params.get("promotion", {}):
        released_name(params["promotion"], params["promotion"]["model"])


def _models(nodes: set[str], catalog: CatalogProtocol) -> Iterator[str]:
    from ruri_kedro.encoders.reference import EncoderReference  # with it comes pyarrow

    for parameters, key in (place for node, place in _MODELS.items() if node in nodes):
        row = catalog.load(f"params:{parameters}")
        try:
            EncoderReference.of(row if key is None else row[key], Path())
        except RecipeError as error:
            yield f"  {parameters if key is None else f'{parameters}.{key}'}: {error}"


def _encoding(nodes: set[str], catalog: CatalogProtocol) -> Iterator[str]:
    if nodes & _ENCODES:
        try:
            check_precision(catalog.load("params:encoding")["precision"], "encoding.precision")
        except RecipeError as error:
            yield f"  {error}"


def _trainings(nodes: set[str], catalog: CatalogProtocol) -> Iterator[str]:
    for training in TRAININGS:
        if training.node not in nodes:
            continue
        settings, run = (catalog.load(name) for name in (training.settings, "params:run"))
        try:
            stage_of(training.stage, settings, run).check()
            if "teacher_precision" in settings:
                check_precision(settings["teacher_precision"], "finetuning.teacher_precision")
        except RecipeError as error:
            yield f"  {error}"
