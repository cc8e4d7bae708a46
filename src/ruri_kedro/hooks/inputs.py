"""What a run reads: missing inputs and unknown parameters are named before anything starts."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractDataset, CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from omegaconf.errors import InterpolationKeyError

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.hooks.recipe_variants import RecipeVariants
from ruri_kedro.hooks.refusal import fail
from ruri_kedro.recipe.overrides import fault_in
from ruri_kedro.recipe.stages import pipeline_order
from ruri_kedro.registry.runs import provenance


class MissingInputHooks:
    """Refuses a run whose recipe or inputs are not there, before it is tracked or anything is computed."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Raise a RecipeError for an environment without a folder, or a parameter that the recipe has not.

        Kedro would run conf/base in place of the one, and ignore the other.
        """
        loader = context.config_loader
        given = loader.runtime_params or {}
        if fault := fault_in(Path(loader.conf_source), context.env, given):
            fail(RecipeError(fault))
        try:
            _ = loader["parameters"] if given else None
        except InterpolationKeyError as error:  # such as a size that the recipe has not
            fail(RecipeError(f"--params {', '.join(given)}: {str(error).splitlines()[0]} in the parameters."))

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Raise one DataError that names every missing input, what makes it and the command."""
        if run_params.get("only_missing_outputs"):
            return
        missing = [name for name in data_inputs(pipeline) if not catalog.exists(name)]
        if missing:
            lines = remedies(missing, catalog, run_params)
            fail(DataError("\n".join(["The run cannot start, data are missing.", *lines])))


class RecipeHooks:
    """Lets a node run others as a recipe would that differs from this one, as those of ablations and sweeps do."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep what the run's parameters are loaded with."""
        self._loader = context.config_loader

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol, parameters: dict[str, Any]) -> None:
        """Put the recipe's parameters, those of other --params, and what knows the catalog's entries into the catalog.

        Under the name `parameters` kedro-mlflow would log all of them, one by one.
        """
        catalog["recipe_parameters"] = MemoryDataset(parameters["parameters"])
        catalog["recipe_variants"] = MemoryDataset(RecipeVariants.of(self._loader), copy_mode="assign")
        catalog["recipe_entries"] = MemoryDataset(catalog.config_resolver, copy_mode="assign")


def data_inputs(pipeline: Pipeline) -> list[str]:
    """Names of the data sets that a pipeline reads and does not make, without parameters."""
    return sorted(name for name in pipeline.inputs() if not name.startswith("params:") and name != "parameters")


def file_of(dataset: AbstractDataset | None) -> Path | None:
    """Where a data set is stored: of a versioned one the version that is current; None for one in memory."""
    versioned = getattr(dataset, "_version", None)
    path = dataset._get_load_path() if versioned else getattr(dataset, "_filepath", None)
    return Path(path) if path else None


def remedies(missing: Iterable[str], catalog: CatalogProtocol, run_params: Mapping[str, Any]) -> list[str]:
    """What to do about missing data sets, a line for each, in the order in which the pipelines have to run."""
    given = run_params.get("runtime_params") or {}
    run_params = {**run_params, "runtime_params": {name: given[name] for name in given if name != "dry_run"}}
    makers = {name: maker_of(name) for name in missing}
    order = pipeline_order()
    ordered = sorted(makers.items(), key=lambda pair: order.index(pair[1]) if pair[1] in order else -1)
    return [f"  {name}: {_remedy(name, maker, catalog, run_params)}" for name, maker in ordered]


def maker_of(name: str) -> str | None:
    """The pipeline that makes a data set, if one does."""
    return smallest_pipeline(lambda pipeline: name in pipeline.all_outputs())


def _remedy(name: str, maker: str | None, catalog: CatalogProtocol, run_params: Mapping[str, Any]) -> str:
    """What to do about the missing data set `name`."""
    dataset = catalog.get(name)
    if dataset is None:
        return "is not in the catalog, so it is never stored. Start from the node that makes it."
    if maker:
        return f"made by the pipeline '{maker}'. Run: {provenance.run_command(run_params, maker)}"
    path = getattr(dataset, "_filepath", type(dataset).__name__)
    return f"{path} is not there. {getattr(dataset, 'remedy', 'No pipeline makes it: check the catalog.')}"


def smallest_pipeline(wanted: Callable[[Pipeline], bool]) -> str | None:
    """Name of the registered pipeline with the fewest nodes among the wanted ones."""
    # Kedro has loaded only what was asked for on the command line.
    pipelines.set_requested(None)
    found = [(len(p.nodes), name) for name, p in pipelines.items() if name != "__default__" and wanted(p)]
    return min(found)[1] if found else None


def home_of(node: Node) -> str:
    """Name of the pipeline that a node belongs to."""
    return smallest_pipeline(lambda pipeline: node in pipeline.nodes) or "__default__"


def title_of(run_params: Mapping[str, Any]) -> str:
    """The pipelines of a run; `all` if it is the whole recipe."""
    names = [name for name in run_params.get("pipeline_names") or [] if name != "__default__"]
    return "+".join(sorted(names)) or "all"
