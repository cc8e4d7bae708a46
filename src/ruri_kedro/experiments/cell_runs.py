"""A cell of a sweep with one seed: its steps, done in this process or in one of its own, and what they found."""

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from statistics import fmean
from typing import Any

from ruri_kedro.experiments.steps import Step, StepStore
from ruri_kedro.experiments.sweep_cells import SweepCell
from ruri_kedro.recipe.stages import stage_of_model
from ruri_kedro.registry.runs.child_runs import ParentRun, child_run_of, log_scores
from ruri_kedro.registry.runs.tracking import flush_step_loggers

logger = logging.getLogger(__name__)

Figures = Mapping[str, float]
DEVELOPMENT, BEST_STEP, AVERAGE = "best-dev", "best-step", "avg"


@dataclass(frozen=True)
class CellRun:
    """The work of a cell with one seed."""

    cell: SweepCell
    seed: int
    steps: Sequence[Step]

    @property
    def title(self) -> str:
        """What its run is called."""
        return f"{self.cell.title}, seed {self.seed}{', all tests' if self.cell.is_chosen else ''}"


@dataclass(frozen=True)
class Outcome:
    """What came of a cell's run: its figures, or the reason why it has none."""

    figures: Figures
    reason: str | None = None


def do_run(run: CellRun, store: StepStore, parent: ParentRun | None) -> Outcome:
    """Do what is missing of a cell's steps, below a run of its own; an error is its reason and stops nothing else."""
    try:
        params = {"seed": run.seed, **run.cell.values}
        with child_run_of(parent, run.title, params) as run_id:
            for step in run.steps:
                if not store.is_done(step):
                    try:
                        store.run(step, run_id)
                    finally:
                        flush_step_loggers()
            figures = figures_of(run, store)
            log_scores(run_id, figures, {"scores": str(store.path(run.steps[-1], run.cell.wanted))})
        return Outcome(figures)
    except Exception as error:  # whatever it is, the other cells go on
        logger.error("%s failed: %s", run.title, error, exc_info=not str(error))
        return Outcome({}, " ".join(f"{type(error).__name__}: {error}".split()))


def figures_of(run: CellRun, store: StepStore) -> dict[str, float]:
    """The figures of a run that is done, in percent: of the development data, of each test, and the tests' mean."""
    from ruri_kedro.benchmark.scoring.evaluate import summarize

    figures = development_figures(run, store)
    rows = store.load(run.steps[-1], run.cell.wanted).iter_rows()
    means = next(iter(summarize(rows).to_dicts()), {})
    tests = {column: 100 * value for column, value in means.items() if column != "model"}
    kept = {name: value for name, value in tests.items() if name.rpartition("/")[0] not in run.cell.skipped}
    return figures | kept | {AVERAGE: fmean(kept.values())}


def development_figures(run: CellRun, store: StepStore) -> dict[str, float]:
    """Those of a training that is done on its development data; none of a model that is not trained."""
    stage = stage_of_model(run.cell.model)
    if stage is None:
        return {}
    trained = next(step for step in run.steps if step.node.name == stage.node)
    measured = store.development_of(trained)[stage.name]
    return {BEST_STEP: float(measured["best_step"]), DEVELOPMENT: 100 * measured["best"]}


def do_runs(
    runs: Sequence[CellRun], store: StepStore, parent: ParentRun | None, workers: int, engine: str = "local"
) -> Iterator[tuple[CellRun, Outcome]]:
    """The outcomes of runs as they end. Steps that several runs have are done first, here, one after the other.

    So no two processes make the same. A process that is killed has its run as failed, the others go on.
    """
    failed = _do_shared(runs, store)
    waiting = []
    for run in runs:
        fault = next((failed[step.folder] for step in run.steps if step.folder in failed), None)
        if fault is None:
            waiting.append(run)
        else:
            yield run, Outcome({}, fault)
    if engine == "ray":
        yield from _on_ray(waiting, store, parent, workers)
    elif workers == 1:
        yield from ((run, do_run(run, store, parent)) for run in waiting)
    else:
        yield from _in_processes(waiting, store, parent, workers)


def _do_shared(runs: Sequence[CellRun], store: StepStore) -> dict[str, str]:
    """Do the steps that more than one run has; by folder of a step why it could not be done."""
    users: dict[str, int] = {}
    for run in runs:
        for step in run.steps:
            users[step.folder] = users.get(step.folder, 0) + 1
    shared = {step.folder: step for run in runs for step in run.steps if users[step.folder] > 1}
    failed: dict[str, str] = {}
    for folder, step in shared.items():
        broken = [maker.folder for maker, _ in step.inputs.values() if maker and maker.folder in failed]
        if broken:
            failed[folder] = failed[broken[0]]
        elif not store.is_done(step):
            try:
                store.run(step, None)
            except Exception as error:  # of the cells that need it
                logger.error("%s failed: %s", step.node.name, error)
                failed[folder] = f"{step.node.name}: {type(error).__name__}: {error}".splitlines()[0]
    return failed


def _on_ray(
    runs: Sequence[CellRun], store: StepStore, parent: ParentRun | None, workers: int
) -> Iterator[tuple[CellRun, Outcome]]:
    """Each run as a task of Ray, so many at a time; all machines of the cluster see the store's folder."""
    from ruri_kedro.engines.ray import tasks_on_ray

    for run, result in tasks_on_ray(do_run, runs, workers, store, parent):
        yield run, result if isinstance(result, Outcome) else Outcome({}, f"its task died: {result}".splitlines()[0])


def _in_processes(
    runs: Sequence[CellRun], store: StepStore, parent: ParentRun | None, workers: int
) -> Iterator[tuple[CellRun, Outcome]]:
    """Each run in a process of its own, so many at a time; all of them are ended where this one is interrupted."""
    context = multiprocessing.get_context("spawn")
    waiting, working = list(runs), {}
    try:
        while waiting or working:
            while waiting and len(working) < workers:
                run = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(do_run, run, store, parent, sender))
                process.start()
                sender.close()
                working[receiver] = process, run
            for receiver in wait(list(working)):
                process, run = working.pop(receiver)
                yield run, _received(receiver, process)
    finally:
        for process, _ in working.values():
            process.terminate()
            process.join()


def _received(receiver: Connection, process: Any) -> Outcome:
    """What a process has sent, or that it ended without a word."""
    try:
        outcome = receiver.recv()
    except EOFError:
        outcome = None
    process.join()
    return outcome or Outcome({}, f"its process ended with exit status {process.exitcode}")


def _work(work: Callable, run: CellRun, store: StepStore, parent: ParentRun | None, sender: Connection) -> None:
    sender.send(work(run, store, parent))
    sender.close()
