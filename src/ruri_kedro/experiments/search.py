"""A search: trials that Optuna draws one after the other, in a study for each combination of the grid's values.

A study is made anew whenever the command is given, with the same seed. Trials that are done are told what they found
the last time, so that the sampler draws the same ones; it does not matter how often a search was killed. The file of
Optuna is written for its readers, such as optuna-dashboard, and is never read.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruri_kedro.errors import RecipeError
from ruri_kedro.experiments.cell_runs import CellRun
from ruri_kedro.experiments.search_settings import Range, SearchSettings
from ruri_kedro.experiments.search_spaces import SearchSpace
from ruri_kedro.experiments.steps import StepStore
from ruri_kedro.experiments.sweep_cells import SweepCell, title_of
from ruri_kedro.experiments.trial_runs import Curve, TrialOutcome, do_trial, measured, replay
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.registry.runs.child_runs import ParentRun

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

FOLDER, STORAGE = "search", "optuna.db"  # within the folder of the sweep


def new_study(settings: SearchSettings, name: str, seed: int, storage: str | None) -> "optuna.Study":
    """A study without trials; one of the same name that `storage`, an address, has is removed. None: in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage is not None:
        with suppress(KeyError):  # there is none
            optuna.delete_study(study_name=name, storage=storage)
    samplers, pruners = optuna.samplers, optuna.pruners
    if settings.sampler == "tpe":
        sampler = samplers.TPESampler(n_startup_trials=settings.startup_trials, seed=seed)
    else:
        sampler = samplers.RandomSampler(seed)
    if settings.pruner.name == "median":
        pruner = pruners.MedianPruner(settings.pruner.startup_trials, settings.pruner.warmup)
    else:
        pruner = pruners.NopPruner()
    return optuna.create_study(storage=storage, study_name=name, sampler=sampler, pruner=pruner, direction="maximize")


def draw(trial: "optuna.Trial", ranges: Mapping[str, Range]) -> dict[str, Any]:
    """The values of a trial, in the order of the ranges."""
    return {name: _drawn(trial, name, found) for name, found in ranges.items()}


def _drawn(trial: "optuna.Trial", name: str, found: Range) -> Any:
    if found.choices is not None:
        return trial.suggest_categorical(name, found.choices)
    if isinstance(found.low, int) and isinstance(found.high, int):
        return trial.suggest_int(name, found.low, found.high, log=found.log)
    return trial.suggest_float(name, found.low, found.high, log=found.log)


def tell(study: "optuna.Study", trial: "optuna.Trial", outcome: TrialOutcome) -> None:
    """What came of a trial, for the study; one that failed has no part in what is drawn next."""
    from optuna.trial import TrialState

    if outcome.reason:
        trial.set_user_attr("reason", outcome.reason)
        study.tell(trial, state=TrialState.FAIL)
    elif outcome.pruned:
        trial.set_user_attr("pruned after step", outcome.pruned.step)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, outcome.value)


@dataclass(frozen=True)
class TrialResult:
    """A trial with what came of it."""

    number: int  # in its study, from 0
    values: Mapping[str, Any]  # by name in the grid and in the ranges
    cell: SweepCell | None  # None: its parameters are at fault
    outcome: TrialOutcome
    seconds: Mapping[str, float]  # of its steps, by their folders

    def row(self, seed: int) -> Params:
        """What is known of it, as of the run of a cell with the seed of its training."""
        return {
            "cell": title_of(self.values),
            "values": dict(self.values),
            "seed": seed,
            "trained": True,
            "trial": self.number,
            "state": self.outcome.state,
            "figures": dict(self.outcome.figures),
            "reason": self.outcome.reason,
            "seconds": dict(self.seconds),
        }


@dataclass(frozen=True)
class Search:
    """The search of a sweep, whose trainings have one seed."""

    settings: SearchSettings
    sampler_seed: int
    seed: int
    store: StepStore
    plan_run: Callable[[SweepCell, int], CellRun]
    folder: Path  # that of the sweep

    def trials(self, space: SearchSpace, parent: ParentRun | None) -> Iterator[TrialResult]:
        """All trials of a space as they end."""
        own = self.folder / FOLDER
        own.mkdir(parents=True, exist_ok=True)
        address = f"sqlite:///{(own / STORAGE).resolve().as_posix()}"
        study = new_study(self.settings, space.title, self.sampler_seed, address)
        for _ in range(self.settings.trials):
            trial = study.ask()
            drawn = draw(trial, self.settings.ranges)
            run, outcome = self._planned(space, drawn)
            if run is not None:
                outcome = do_trial(trial, run, self.store, parent, own)
            tell(study, trial, outcome)
            logger.info("Trial %d of %s: %s.", trial.number, space.title, outcome.state)
            values = {**space.labels, **drawn}
            yield TrialResult(trial.number, values, run and run.cell, outcome, self._seconds(run, outcome))

    def done(self, space: SearchSpace) -> int:
        """How many trials, one behind the other, need no training any more. Nothing is written."""
        study = new_study(self.settings, space.title, self.sampler_seed, None)
        for number in range(self.settings.trials):
            trial = study.ask()
            run, outcome = self._planned(space, draw(trial, self.settings.ranges))
            if run is not None:
                pruned = replay(trial, Curve(run, self.store, self.folder / FOLDER))
                if pruned is None and not self.store.is_done(run.steps[-1]):
                    return number
                outcome = TrialOutcome({}, pruned=pruned) if pruned else measured(run, self.store)
            tell(study, trial, outcome)
        return self.settings.trials

    def _planned(self, space: SearchSpace, drawn: Mapping[str, Any]) -> tuple[CellRun | None, TrialOutcome]:
        """The work of a trial, or why there is none."""
        try:
            return self.plan_run(space.trial(drawn), self.seed), TrialOutcome({})
        except RecipeError as error:
            return None, TrialOutcome({}, reason=" ".join(f"RecipeError: {error}".split()))

    def _seconds(self, run: CellRun | None, outcome: TrialOutcome) -> dict[str, float]:
        """How long each step took; of a training that was pruned, until then."""
        if run is None:
            return {}
        found = {step.folder: self.store.seconds_of(step) for step in run.steps if self.store.is_done(step)}
        return {run.steps[-1].folder: outcome.seconds, **found} if outcome.pruned else found
