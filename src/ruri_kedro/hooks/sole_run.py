"""One run at a time writes a data set: another one is told so before it computes anything."""

from contextlib import ExitStack
from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from ruri_kedro.errors import DataError
from ruri_kedro.hooks.refusal import fail

MARK = ".run-"  # before the name of what a run writes, or will write; the writing itself has a lock of its own


class SoleRunHooks:
    """Keeps what a run writes, from its start to its end, from other runs.

    What belongs to a data set without being in the catalog, such as checkpoints and caches, is kept with it. Runs of
    other recipes, runs that write other data sets, and commands that only read are not held up.
    """

    def __init__(self) -> None:
        self._held = ExitStack()

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Raise one DataError that names the first data set that another run writes."""
        from ruri_kedro.tables.files import sole_user  # with it comes pyarrow

        self._held.close()  # of a run in this process that was refused by another hook
        try:
            with ExitStack() as held:
                # In one order for all: of runs that start at once, the one that is first at what they share goes on.
                for path in sorted(written(pipeline, catalog)):
                    held.enter_context(sole_user(path, _busy(path), MARK))
                self._held = held.pop_all()
        except DataError as error:
            fail(error)

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Let others write."""
        self._held.close()

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        """Let others write."""
        self._held.close()


def written(pipeline: Pipeline, catalog: CatalogProtocol) -> set[Path]:
    """Where a pipeline stores what it makes; of a versioned data set the folder of its versions."""
    datasets = (catalog.get(name) for name in pipeline.all_outputs())
    local = (dataset for dataset in datasets if getattr(dataset, "_protocol", "file") == "file")
    return {Path(path).absolute() for dataset in local if (path := getattr(dataset, "_filepath", None))}


def _busy(path: Path) -> DataError:
    return DataError(
        f"{path}: another run is writing it, so this one cannot start. Wait for its end, or give this one a recipe of "
        "its own (`recipe` in conf/<environment>/globals.yml)."
    )
