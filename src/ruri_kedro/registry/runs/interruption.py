"""Runs of MLflow whose process was interrupted or killed: they say so, and the terminal says how to go on.

MLflow itself closes the runs that are open when a process ends as FINISHED, and those of a killed one stay RUNNING.
"""

import atexit
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

from ruri_kedro.registry.runs.liveness import PROCESS, is_dead
from ruri_kedro.registry.runs.tracking import mlflow_client

logger = logging.getLogger(__name__)


@dataclass
class _Watched:
    run_id: str
    command: str  # that continues
    pid: int
    handlers: dict[int, Any] = field(default_factory=dict)  # that were there before, by signal
    interrupted: bool = False


_watched: _Watched | None = None


def watch(run_id: str, command: str) -> None:
    """Close the run, which was just opened, as KILLED or FAILED if this process ends before `release`.

    On Ctrl-C or SIGTERM `command` is printed, which continues. Handlers of others for these signals stay.
    """
    global _watched
    _watched = _Watched(run_id, command, os.getpid())
    if threading.current_thread() is threading.main_thread():
        for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) is default:
                _watched.handlers[number] = signal.signal(number, _interrupt)
    # Called before MLflow's own, which was registered when MLflow was imported.
    atexit.unregister(close_unfinished)
    atexit.register(close_unfinished)


def release() -> None:
    """The run has ended, and was closed."""
    global _watched
    watched, _watched = _watched, None
    if watched and threading.current_thread() is threading.main_thread():
        for number, handler in watched.handlers.items():
            signal.signal(number, handler)


def close_interrupted() -> None:
    """Close the run that was interrupted in this process, which went on: a notebook."""
    if _watched and _watched.interrupted:
        close_unfinished()


def close_unfinished() -> None:
    """Close the run that is watched, and those below it, at the end of the process."""
    watched = _watched
    release()
    if watched is None or watched.pid != os.getpid():
        return
    status = "KILLED" if watched.interrupted else "FAILED"
    if watched.interrupted:
        print(f"Interrupted. What is finished stays. To continue: {watched.command}", file=sys.stderr, flush=True)
    try:
        _close(watched.run_id, status)
    except Exception as error:  # the process ends: the next run closes it
        logger.warning("The MLflow run %s could not be closed as %s: %s", watched.run_id, status, error)


def close_dead(run_id: str) -> list[str]:
    """Close as KILLED the runs of this run's experiment that are RUNNING and whose process has died; gives their ids.

    A run of another machine may be alive, and stays; so does one that says nothing of its process.
    """
    from mlflow.exceptions import MlflowException

    client = mlflow_client()
    experiment = client.get_run(run_id).info.experiment_id
    running = client.search_runs([experiment], "attributes.status = 'RUNNING'")
    dead = [run.info.run_id for run in running if run.info.run_id != run_id and is_dead(run.data.tags.get(PROCESS))]
    closed = []
    for other in dead:
        try:
            client.set_terminated(other, "KILLED")
        except MlflowException as error:  # a login that may not
            logger.warning("The MLflow run %s, whose process is dead, could not be closed: %s", other, error)
        else:
            closed.append(other)
            logger.info("The process of the MLflow run %s was killed: the run is KILLED now.", other)
    return closed


def _interrupt(number: int, frame: Any) -> None:
    watched = _watched
    if watched and watched.pid == os.getpid():
        watched.interrupted = True
    elif number == signal.SIGTERM:  # a process that was forked from this one ends as it would without the handler
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _close(run_id: str, status: str) -> None:
    """Close the runs that are open in this thread, the innermost first, and the run itself if another thread has it."""
    import mlflow

    while mlflow.active_run():
        mlflow.end_run(status)
    client = mlflow_client()
    if client.get_run(run_id).info.status == "RUNNING":
        client.set_terminated(run_id, status)
