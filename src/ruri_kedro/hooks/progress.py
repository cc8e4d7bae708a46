"""How far a run has come: a line for each step with its time, what is left by the times of earlier runs, warnings."""

import logging
import time
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Timer
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ruri_kedro.text.layout import duration

logger = logging.getLogger(__name__)

_LONG = 5.0  # seconds after which a step that has not ended is named
_LOG_BYTES, _LOG_FILES = 5_000_000, 3
_LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_LOGGERS = ("", "kedro")  # that have handlers; Kedro's lines do not reach those of the first


class ProgressHooks:
    """Says what the steps of a run take, and keeps the times for the estimate of the next run."""

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}
        self._total = 0
        self._file: Path | None = None
        self._known: dict[str, float] = {}
        self._left: set[str] = set()
        self._handlers: list[logging.Handler] = []
        self._warnings = _Warnings()
        self._begun = 0.0

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Say how many steps there are, and what they took in earlier runs."""
        project = Path(run_params["project_path"])
        self._listen(project / "logs/run.log")
        recipe = catalog.load("params:recipe") if "params:recipe" in catalog else None
        self._file = project / "data/08_reporting" / str(recipe) / "step_times.json" if recipe else None
        self._known = _times(self._file)
        self._left = {node.name for node in pipeline.nodes}
        self._total, self._steps, self._begun = len(self._left), {}, time.monotonic()
        logger.info(estimate(self._left, self._known))

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """A step begins with its first input: reading it is part of what the step takes."""
        self._begin(node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """A step without inputs begins here."""
        self._begin(node)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """A step without outputs ends here."""
        if not node.outputs:
            self._end(node)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """A step ends with its last output: tables are made while they are written."""
        if node.name in self._steps:
            self._steps[node.name].unsaved.discard(dataset_name)
            if not self._steps[node.name].unsaved:
                self._end(node)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Say what all of it took, before the results are shown."""
        logger.info("All steps are done, in %s.", duration(time.monotonic() - self._begun))

    @hook_impl(trylast=True, specname="after_pipeline_run")
    def repeat_warnings(self) -> None:
        """Show the warnings again, below the results: they have scrolled away."""
        self._close()

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        """As at a good end; the error follows."""
        self._close()

    def _listen(self, file: Path) -> None:
        """Keep all lines in a file, and the warnings."""
        self._close()
        self._warnings = _Warnings()
        self._handlers = [self._warnings]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            kept = RotatingFileHandler(file, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8")
        except OSError as error:
            logger.warning("%s: the log cannot be kept (%s).", file, error.strerror)
        else:
            kept.setFormatter(logging.Formatter(_LINE))
            self._handlers.append(kept)
        for name in _LOGGERS:
            for handler in self._handlers:
                logging.getLogger(name).addHandler(handler)

    def _close(self) -> None:
        for step in self._steps.values():
            step.timer.cancel()
        for handler in self._handlers:
            for name in _LOGGERS:
                logging.getLogger(name).removeHandler(handler)
            handler.close()
        self._handlers = []
        if self._warnings.messages:
            count = len(self._warnings.messages)
            click.echo(f"\n{count} warning{'s' if count > 1 else ''}:")
            for message in self._warnings.messages:
                click.echo(f"  {message}")
        self._warnings = _Warnings()

    def _begin(self, node: Node) -> None:
        if node.name in self._left and node.name not in self._steps:
            self._steps[node.name] = _Step(node, self._known.get(node.name))

    def _end(self, node: Node) -> None:
        """One line: number, name, time, and what is left if all that follows has run before."""
        step = self._steps.pop(node.name, None)
        if step is None:
            return
        took = step.end()
        self._left.discard(node.name)
        self._known[node.name] = took
        done = self._total - len(self._left)
        known = [self._known[name] for name in self._left if name in self._known]
        rest = f", about {duration(sum(known))} left" if known and len(known) == len(self._left) else ""
        logger.info("%*d/%d %s: %s%s", len(str(self._total)), done, self._total, node.name, duration(took), rest)
        if self._file is not None:
            from ruri_kedro.tables.files import write_json

            write_json(self._file, {name: round(seconds, 2) for name, seconds in sorted(self._known.items())})


class _Step:
    """A step that runs; one that takes long is named while it does."""

    def __init__(self, node: Node, known: float | None) -> None:
        self.unsaved = set(node.outputs)
        self._begun = time.monotonic()
        usual = f" (the last time it took {duration(known)})" if known is not None else ""
        self.timer = Timer(_LONG, logger.info, ("%s is running%s", node.name, usual))
        self.timer.daemon = True
        self.timer.start()

    def end(self) -> float:
        """Seconds that it took."""
        self.timer.cancel()
        return time.monotonic() - self._begun


class _Warnings(logging.Handler):
    """The different warnings and errors of a run, each once, in their order."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first line of a message."""
        lines = record.getMessage().strip().splitlines()
        if lines:
            self.messages.setdefault(lines[0])


def estimate(steps: set[str], known: Mapping[str, float]) -> str:
    """What the steps of a run will take, as far as earlier runs of the recipe on this machine tell."""
    there = [known[name] for name in steps if name in known]
    count = f"{len(steps)} step{'s' if len(steps) != 1 else ''}"
    if not there:
        return f"{count}, none of which has run here before: it is not known how long the run takes."
    if len(there) == len(steps):
        return f"{count}. Time in the last runs here: {duration(sum(there))}."
    return f"{count}. Time of {len(there)} of them in the last runs here: {duration(sum(there))}; the others are new."


def _times(file: Path | None) -> dict[str, float]:
    """Seconds by step of earlier runs; none where the file is missing or was cut."""
    from ruri_kedro.tables.files import read_json

    try:
        found = read_json(file) if file else {}
        return {str(name): float(seconds) for name, seconds in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
