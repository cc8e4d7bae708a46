"""What happens when a run has ended: checkpoints are removed, and the terminal shows results or the one error."""

import errno
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from ruri_kedro.errors import DataError, RuriError
from ruri_kedro.hooks.inputs import title_of
from ruri_kedro.hooks.refusal import fail
from ruri_kedro.recipe.stages import STAGES, pipeline_order
from ruri_kedro.registry import summary
from ruri_kedro.registry.runs import provenance, tracking
from ruri_kedro.text.pages import without_pictures

REPORTS = ("report", "ablation_report")  # shown at the end, with what comes next
PROMOTION_REPORT = "promotion_report"


class CheckpointHooks:
    """Keeps the checkpoints of finished stages until the run they belong to has ended well."""

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Remove the checkpoints of the stages whose models are stored now: the next run trains anew."""
        made = pipeline.all_outputs()
        stages = [stage.name for stage in STAGES.values() if stage.model in made and "params:run" in catalog]
        for stage in stages:
            shutil.rmtree(Path(catalog.load("params:run")["checkpoints"]) / stage, ignore_errors=True)


class ClosingHooks:
    """What stands at the end of the terminal: results and what to do next, or the one error that matters."""

    def __init__(self) -> None:
        self._run_id: str | None = None

    @hook_impl(trylast=True)
    def before_pipeline_run(self) -> None:
        """Remember the run, which is closed when all is said."""
        self._run_id = tracking.active_run_id()

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Print the report and what comes next: commands, or after a single pipeline its successor."""
        made = pipeline.all_outputs()
        if reports := [name for name in REPORTS if name in made]:
            click.echo(f"\n{without_pictures(catalog.load(reports[0]))}\n")
            size = (run_params.get("runtime_params") or {}).get("size")
            project = Path(run_params["project_path"])
            click.echo(summary.closing_lines(self._run_id, project, run_params.get("env"), size))
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


def _follower(run_params: Mapping[str, Any]) -> str | None:
    """The pipeline that comes after the one that was run, if it was one and not the last."""
    title, order = title_of(run_params), pipeline_order()
    place = order.index(title) + 1 if title in order else len(order)
    return order[place] if place < len(order) else None
