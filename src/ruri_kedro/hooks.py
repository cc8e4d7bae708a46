"""What surrounds a run: missing inputs named before anything starts, tracking, and the last words."""

import errno
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractDataset, CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from omegaconf.errors import InterpolationKeyError

from ruri_kedro.errors import DataError, RecipeError, RuriError
from ruri_kedro.overrides import fault_in
from ruri_kedro.recipe.stages import STAGES, pipeline_order
from ruri_kedro.registry import interruption, liveness, provenance, relocation, summary, tracking

logger = logging.getLogger(__name__)

REPORTS = ("report", "ablation_report")  # shown at the end, with what comes next
PROMOTION_REPORT = "promotion_report"


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
    """Lets a node run others as a recipe would that differs from this one, as the ablations do for their cells."""

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol, parameters: dict[str, Any]) -> None:
        """Put the recipe's parameters, and what knows the catalog's entries by name, into the catalog.

        Under the name `parameters` kedro-mlflow would log all of them, one by one.
        """
        catalog["recipe_parameters"] = MemoryDataset(parameters["parameters"])
        catalog["recipe_entries"] = MemoryDataset(catalog.config_resolver, copy_mode="assign")


class TrackingHooks:
    """Tells MLflow what a run was, what it read and what came out."""

    def __init__(self) -> None:
        self._catalog: CatalogProtocol | None = None
        self._run_id: str | None = None
        self._stages: dict[str, str] = {}
        self._known: set[str] = set()

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Settle the tracking URI and check the server, before kedro-mlflow opens it and retries for minutes."""
        interruption.close_interrupted()  # a run before this one, in the same notebook
        liveness.tag_with_process()
        context.config_loader.config_patterns.setdefault("mlflow", ["mlflow*", "mlflow*/**", "**/mlflow*"])
        try:
            config = context.config_loader["mlflow"]
        except MissingConfigException:
            return
        server = config.setdefault("server", {})
        try:
            uri = tracking.tracking_uri(server.get("mlflow_tracking_uri"), context.project_path)
            registry = tracking.registry_uri(server.get("mlflow_registry_uri"))
        except RuriError as error:
            fail(error)
        server["mlflow_tracking_uri"] = uri
        if registry:
            server["mlflow_registry_uri"] = registry
        if not uri.startswith("sqlite:"):
            # The folder named there is for the local store; a server keeps its own.
            experiment = config.get("tracking", {}).get("experiment", {})
            experiment.get("create_experiment_kwargs", {}).pop("artifact_location", None)
        context.config_loader["mlflow"] = config
        try:
            _follow_project(uri, config, context)
            tracking.check_server(uri)
        except RuriError as error:
            fail(error)

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        """Keep the catalog: the hooks on data sets are given names only."""
        self._catalog = catalog

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Tag the run that kedro-mlflow has just opened with all it takes to do it again."""
        self._catalog = catalog
        self._run_id = tracking.active_run_id()
        self._known.clear()
        if self._run_id is None:
            return
        interruption.watch(self._run_id, provenance.run_command(run_params))
        interruption.close_dead(self._run_id)
        self._stages = {node.name: _home(node) for node in pipeline.nodes}
        project = Path(run_params["project_path"])
        recipe = str(catalog.load("params:recipe")) if "params:recipe" in catalog else "none"
        paths = [getattr(catalog.get(name), "_filepath", None) for name in data_inputs(pipeline)]
        tags = {
            "recipe": recipe,
            "mlflow.runName": f"{recipe}: {_title(run_params)}",
            "reproduce": provenance.run_command(run_params),
            **provenance.git_tags(project),
            **provenance.package_tags(),
            **provenance.dvc_tags(project, [Path(path) for path in paths if path]),
        }
        tracking.set_tags(self._run_id, tags)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Log a table, raw folder or model that a node read as an input of the run."""
        # Once in a run: the digest of a raw folder costs reading it.
        if dataset_name not in self._known:
            self._log_lineage(dataset_name, self._stages.get(node.name, ""))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log what the catalog marks with `metadata: {mlflow: artifact}` or `{mlflow: metrics}`, and tables."""
        if self._run_id is None:
            return
        dataset = self._catalog.get(dataset_name)
        kind = (getattr(dataset, "metadata", None) or {}).get("mlflow")
        if kind == "artifact":
            tracking.log_file(self._run_id, file_of(dataset))
        elif kind == "metrics":
            tracking.log_metric_tree(self._run_id, data, prefix=dataset_name)
        self._log_lineage(dataset_name, f"output of {self._stages.get(node.name, '')}")

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """The run has ended."""
        interruption.release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """The run has failed."""
        interruption.release()

    @hook_impl
    def after_node_run(self) -> None:
        """Send the last metrics of a training."""
        tracking.flush_step_loggers()

    @hook_impl
    def on_node_error(self) -> None:
        """Send the last metrics of a training that failed."""
        tracking.flush_step_loggers()

    def _log_lineage(self, name: str, context: str) -> None:
        self._known.add(name)
        dataset = self._catalog.get(name) if self._run_id else None
        if hasattr(dataset, "fingerprint"):
            digest, rows = dataset.fingerprint()
            tracking.log_input(self._run_id, name, digest, rows, context, str(file_of(dataset)))


class CheckpointHooks:
    """Keeps the checkpoints of finished stages until the run they belong to has ended well."""

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Remove the checkpoints of the stages whose models are stored now: the next run trains anew."""
        made = pipeline.all_outputs()
        stages = [stage.name for stage in STAGES.values() if stage.model in made and "params:run" in catalog]
        for stage in stages:
            shutil.rmtree(Path(catalog.load("params:run")["checkpoints"]) / stage, ignore_errors=True)


class LastWordsHooks:
    """What stands at the end of the terminal: results and what to do next, or the one error that matters."""

    def __init__(self) -> None:
        self._run_id: str | None = None

    @hook_impl(trylast=True)
    def before_pipeline_run(self) -> None:
        """Remember the run, which is closed when the last words are spoken."""
        self._run_id = tracking.active_run_id()

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Print the report and what comes next: commands, or after a single pipeline its successor."""
        made = pipeline.all_outputs()
        if reports := [name for name in REPORTS if name in made]:
            click.echo(f"\n{catalog.load(reports[0])}\n")
            size = (run_params.get("runtime_params") or {}).get("size")
            project = Path(run_params["project_path"])
            click.echo(summary.last_words(self._run_id, project, run_params.get("env"), size))
        elif PROMOTION_REPORT in made:
            click.echo(f"\n{catalog.load(PROMOTION_REPORT)}")
        elif follower := _follower(run_params):
            click.echo(f"Next: {provenance.run_command(run_params, follower)}")

    @hook_impl(trylast=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """On the command line, an error of ours is shown as its message, without the way it came; so is a full disk."""
        if click.get_current_context(silent=True) is None:
            return
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, RuriError):
                fail(cause)
            if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
                fail(DataError(f"The disk is full ({cause}). What was finished stays: make room, run the same again."))
            cause = cause.__cause__


def _follow_project(uri: str, config: Mapping[str, Any], context: KedroContext) -> None:
    """Let a local store follow the project that was moved or copied."""
    experiment = config.get("tracking", {}).get("experiment", {})
    folder = experiment.get("create_experiment_kwargs", {}).get("artifact_location")
    database = tracking.database_of(uri)
    if database and folder:
        name = experiment.get("name") or context._package_name  # as kedro-mlflow has it
        relocation.follow_project(database, context.project_path, name, folder)


def fail(error: RuriError) -> NoReturn:
    """Raise `error`; on the command line as its message only, the traceback at level DEBUG."""
    if click.get_current_context(silent=True) is None:
        raise error
    logger.debug("The run was refused or failed.", exc_info=error)
    raise click.ClickException(str(error)) from error


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
    makers = {name: _maker(name) for name in missing}
    order = pipeline_order()
    ordered = sorted(makers.items(), key=lambda pair: order.index(pair[1]) if pair[1] in order else -1)
    return [f"  {name}: {_remedy(name, maker, catalog, run_params)}" for name, maker in ordered]


def _maker(name: str) -> str | None:
    """The pipeline that makes a data set, if one does."""
    return _smallest(lambda pipeline: name in pipeline.all_outputs())


def _remedy(name: str, maker: str | None, catalog: CatalogProtocol, run_params: Mapping[str, Any]) -> str:
    """What to do about the missing data set `name`."""
    dataset = catalog.get(name)
    if dataset is None:
        return "is not in the catalog, so it is never stored. Start from the node that makes it."
    if maker:
        return f"made by the pipeline '{maker}'. Run: {provenance.run_command(run_params, maker)}"
    path = getattr(dataset, "_filepath", type(dataset).__name__)
    return f"{path} is not there. {getattr(dataset, 'remedy', 'No pipeline makes it: check the catalog.')}"


def _smallest(wanted: Callable[[Pipeline], bool]) -> str | None:
    """Name of the registered pipeline with the fewest nodes among the wanted ones."""
    # Kedro has loaded only what was asked for on the command line.
    pipelines.set_requested(None)
    found = [(len(p.nodes), name) for name, p in pipelines.items() if name != "__default__" and wanted(p)]
    return min(found)[1] if found else None


def _home(node: Node) -> str:
    """Name of the pipeline that a node belongs to."""
    return _smallest(lambda pipeline: node in pipeline.nodes) or "__default__"


def _title(run_params: Mapping[str, Any]) -> str:
    names = [name for name in run_params.get("pipeline_names") or [] if name != "__default__"]
    return "+".join(sorted(names)) or "all"


def _follower(run_params: Mapping[str, Any]) -> str | None:
    """The pipeline that comes after the one that was run, if it was one and not the last."""
    title, order = _title(run_params), pipeline_order()
    place = order.index(title) + 1 if title in order else len(order)
    return order[place] if place < len(order) else None
