"""What would stop a run after hours is looked for before it starts. Torch is imported inside the functions."""

from collections.abc import Iterator
from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from ruri_kedro.dry_run import TRAININGS
from ruri_kedro.encoders.precision import check_precision
from ruri_kedro.errors import RecipeError
from ruri_kedro.hooks import fail
from ruri_kedro.pipelines.shared import stage_of

# Nodes that load a model of another's making: the parameters that name it, and where in them.
_MODELS = {
    "make_base_model": ("base_model", None),
    "consistency": ("consistency", "encoder"),
    "supervised.embed": ("mining.supervised", "encoder"),
    "score_with_teacher": ("finetuning", "teacher"),
}
_ENCODES = {"consistency", "supervised.embed"}  # nodes that read `encoding`


class CheckHooks:
    """Refuses a run whose models cannot be loaded or whose trainings cannot start, as far as the recipe tells."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Raise one RecipeError that names every fault."""
        names = {node.name for node in pipeline.nodes}
        if faults := [*_models(names, catalog), *_encoding(names, catalog), *_trainings(names, catalog)]:
            fail(RecipeError("\n".join(["The run cannot start, the recipe is not complete.", *faults])))


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
