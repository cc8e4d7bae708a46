"""The size of data sets, as Kedro-Viz shows it beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline


class StatsHooks:
    """Adds the rows of tables to the figures that Kedro-Viz shows, and keeps those of earlier runs."""

    def __init__(self) -> None:
        self._earlier: dict[str, dict[str, int]] = {}

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Read what stands there: Kedro-Viz writes only what it saw in this run, which is data frames."""
        self._earlier = _stats(_stats_file(run_params))

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Put the figures together, after Kedro-Viz has written its own."""
        from ruri_kedro.tables.files import write_json  # with it comes pyarrow

        file = _stats_file(run_params)
        datasets = ((name, catalog.get(name)) for name in sorted(pipeline.all_outputs()))
        tables = {name: dataset.stats() for name, dataset in datasets if hasattr(dataset, "stats")}
        write_json(file, self._earlier | _stats(file) | tables)


def _stats_file(run_params: Mapping[str, Any]) -> Path:
    """Where Kedro-Viz looks for the figures of data sets."""
    return Path(run_params["project_path"]) / ".viz/stats.json"


def _stats(file: Path) -> dict[str, dict[str, int]]:
    """The figures that a run has left; none where there are none or the writing was cut off."""
    from ruri_kedro.tables.files import read_json

    try:
        return read_json(file)
    except (OSError, ValueError):
        return {}
