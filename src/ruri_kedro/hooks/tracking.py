"""What MLflow is told of a run."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ruri_kedro.errors import RuriError
from ruri_kedro.hooks.inputs import data_inputs, file_of, home_of, title_of
from ruri_kedro.hooks.refusal import fail
from ruri_kedro.registry.runs import interruption, liveness, provenance, relocation, tracking

logger = logging.getLogger(__name__)


class TrackingHooks:
    """Tells MLflow what a run was, what it read and what came out."""

    def __init__(self) -> None:
        self._catalog: CatalogProtocol | None = None
        self._run_id: str | None = None
        self._stages: dict[str, str] = {}
        self._known: set[str] = set()
        self._end_measuring: Callable[[], None] | None = None

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
        self._stages = {node.name: home_of(node) for node in pipeline.nodes}
        project = Path(run_params["project_path"])
        recipe = str(catalog.load("params:recipe")) if "params:recipe" in catalog else "none"
        paths = [getattr(catalog.get(name), "_filepath", None) for name in data_inputs(pipeline)]
        tags = {
            "recipe": recipe,
            "mlflow.runName": f"{recipe}: {title_of(run_params)}",
            "reproduce": provenance.run_command(run_params),
            **provenance.git_tags(project),
            **provenance.package_tags(),
            **provenance.dvc_tags(project, [Path(path) for path in paths if path]),
        }
        tracking.set_tags(self._run_id, tags)
        seconds = catalog.load("params:system_metrics") if "params:system_metrics" in catalog else None
        if seconds is not None:
            self._end_measuring = tracking.measure_machine(self._run_id, seconds)

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
            if dataset.metadata.get("description"):
                tracking.describe_run(self._run_id, data)
        elif kind == "metrics":
            tracking.log_metric_tree(self._run_id, data, prefix=dataset_name)
        self._log_lineage(dataset_name, f"output of {self._stages.get(node.name, '')}")

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """The run has ended."""
        self._stop_measuring()
        interruption.release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """The run has failed."""
        self._stop_measuring()
        interruption.release()

    @hook_impl
    def after_node_run(self) -> None:
        """Send the last metrics of a training."""
        tracking.flush_step_loggers()

    @hook_impl
    def on_node_error(self) -> None:
        """Send the last metrics of a training that failed."""
        tracking.flush_step_loggers()

    def _stop_measuring(self) -> None:
        if self._end_measuring is not None:
            self._end_measuring()
            self._end_measuring = None

    def _log_lineage(self, name: str, context: str) -> None:
        self._known.add(name)
        dataset = self._catalog.get(name) if self._run_id else None
        if hasattr(dataset, "fingerprint"):
            digest, rows = dataset.fingerprint()
            tracking.log_input(self._run_id, name, digest, rows, context, str(file_of(dataset)))


def _follow_project(uri: str, config: Mapping[str, Any], context: KedroContext) -> None:
    """Let a local store follow the project that was moved or copied."""
    experiment = config.get("tracking", {}).get("experiment", {})
    folder = experiment.get("create_experiment_kwargs", {}).get("artifact_location")
    database = tracking.database_of(uri)
    if database and folder:
        name = experiment.get("name") or context._package_name  # as kedro-mlflow has it
        relocation.follow_project(database, context.project_path, name, folder)
