"""A trial of a search: its training, whose development figures its pruner sees while it goes on.

What is known of a training is kept: a trial is told of it before anything is trained. So a search that was killed is
played again, without a step that is done, and goes on where it ended.
"""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruri_kedro.errors import DamagedError, TrainingError
from ruri_kedro.experiments.cell_runs import CellRun, Figures, development_figures
from ruri_kedro.experiments.steps import Step, StepStore
from ruri_kedro.recipe.stages import stage_of_model
from ruri_kedro.registry.runs.child_runs import ParentRun, child_run_of, log_scores
from ruri_kedro.registry.runs.tracking import flush_step_loggers, listening
from ruri_kedro.tables.checksums import read_checked, write_checked

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

_METRIC = "development/spearman"  # as training.development reports it


@dataclass(frozen=True)
class PrunedAt:
    """Where a trial was ended: after which evaluation, counted from 1, and after which step of its training."""

    evaluation: int
    step: int

    def __str__(self) -> str:
        return f"pruned after evaluation {self.evaluation}, step {self.step}"


@dataclass(frozen=True)
class TrialOutcome:
    """What came of a trial: its figures, or where it was pruned, or the reason why it has neither."""

    figures: Figures
    value: float | None = None  # what the search maximises: the best development figure
    pruned: PrunedAt | None = None
    reason: str | None = None
    seconds: float = 0.0  # of a training that was pruned

    @property
    def state(self) -> str:
        """In words."""
        return "done" if self.figures else str(self.pruned or f"failed: {self.reason}")


class Pruning(BaseException):
    """Ends the training of a trial. It is not an error, so handlers of errors on its way do not catch it."""

    def __init__(self, at: PrunedAt) -> None:
        super().__init__(str(at))
        self.at = at


class Curve:
    """The development figures of a trial's training by step, 0 for the model before the first.

    They are in the store where the training is done, else in a file that is written with each of them.
    """

    def __init__(self, run: CellRun, store: StepStore, folder: Path) -> None:
        """`folder` has the files of trainings that are not done."""
        self.stage = stage_of_model(run.cell.model)
        self.trained: Step = run.steps[-1]
        self._store, self._path = store, folder / f"{self.trained.folder}.json"
        self.scores: dict[int, float] = {}
        self.seconds = 0.0  # that the training took until the last of them, without what was lost to kills
        self._began = time.monotonic()
        self._read()

    def _read(self) -> None:
        if self._store.is_done(self.trained):
            measured = self._store.development_of(self.trained)[self.stage.name]["scores"]
            self.scores, self.seconds = dict(measured), self._store.seconds_of(self.trained)
            return
        try:
            if self._path.is_file():
                kept = read_checked(self._path)
                self.scores, self.seconds = dict(kept["scores"]), kept["seconds"]
        except DamagedError as error:
            logger.warning("%s. The training begins anew.", error.fault)

    def begin(self) -> None:
        """The training begins or goes on; from the start where no figure is known of what it has done."""
        if not self.scores:
            self._store.forget(self.trained)
        self._began = time.monotonic()

    def add(self, step: int, score: float) -> None:
        """Keep a figure."""
        self.scores[step] = score
        self.seconds = round(time.monotonic() - self._began, 1)
        write_checked(self._path, {"scores": sorted(self.scores.items()), "seconds": self.seconds})

    def end(self) -> None:
        """The training is done, and the store has its figures."""
        self._path.unlink(missing_ok=True)


def replay(trial: "optuna.Trial", curve: Curve) -> PrunedAt | None:
    """Tell a trial what is known of its training; where that ends it."""
    for evaluation, step in enumerate(sorted(curve.scores)):
        if found := _told(trial, evaluation, step, curve.scores[step]):
            return found
    return None


def _told(trial: "optuna.Trial", evaluation: int, step: int, score: float) -> PrunedAt | None:
    """Tell a trial one figure: by number of the evaluation, since trainings may have other numbers of steps."""
    if evaluation == 0:  # of the model before its training
        return None
    trial.report(score, evaluation)
    return PrunedAt(evaluation, step) if trial.should_prune() else None


def do_trial(
    trial: "optuna.Trial", run: CellRun, store: StepStore, parent: ParentRun | None, folder: Path
) -> TrialOutcome:
    """Do what is missing of a trial, below a run of its own; an error is its reason and stops nothing else."""
    title = f"trial {trial.number}: {run.title}"
    try:
        params = {"seed": run.seed, "trial": trial.number, **run.cell.values}
        with child_run_of(parent, title, params) as run_id:
            for step in run.steps[:-1]:
                if not store.is_done(step):
                    _do(step, store, run_id)
            outcome = _trained(trial, run, store, run_id, folder)
            log_scores(run_id, outcome.figures, {"trial": outcome.state})
        return outcome
    except Exception as error:  # whatever it is, the other trials go on
        logger.error("%s failed: %s", title, error, exc_info=not str(error))
        return TrialOutcome({}, reason=" ".join(f"{type(error).__name__}: {error}".split()))


def _trained(trial: "optuna.Trial", run: CellRun, store: StepStore, run_id: str | None, folder: Path) -> TrialOutcome:
    """Train what the pruner leaves of a trial."""
    curve = Curve(run, store, folder)
    pruned = replay(trial, curve)
    if pruned is None and not store.is_done(curve.trained):
        pruned = _train(trial, curve, store, run_id)
    if pruned:
        store.forget(curve.trained)
        return TrialOutcome({}, pruned=pruned, seconds=curve.seconds)
    return measured(run, store)


def measured(run: CellRun, store: StepStore) -> TrialOutcome:
    """The outcome of a trial whose training is done. Raises TrainingError where its figure is not a number."""
    best = store.development_of(run.steps[-1])[stage_of_model(run.cell.model).name]["best"]
    if not math.isfinite(best):
        raise TrainingError(f"{run.title}: its development figure is not a number.")
    return TrialOutcome(development_figures(run, store), best)


def _train(trial: "optuna.Trial", curve: Curve, store: StepStore, run_id: str | None) -> PrunedAt | None:
    def see(stage: str, step: int, metrics: Mapping[str, Any]) -> None:
        # A training that goes on from a checkpoint measures again what came behind it.
        if stage == curve.stage.name and _METRIC in metrics and step not in curve.scores:
            curve.add(step, metrics[_METRIC])
            if at := _told(trial, len(curve.scores) - 1, step, metrics[_METRIC]):
                raise Pruning(at)

    curve.begin()
    try:
        with listening(see):
            _do(curve.trained, store, run_id)
    except Pruning as pruning:
        return pruning.at
    curve.end()
    return None


def _do(step: Step, store: StepStore, run_id: str | None) -> None:
    try:
        store.run(step, run_id)
    finally:
        flush_step_loggers()
