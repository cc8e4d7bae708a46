"""Runs of MLflow below the one that is open: one for each of several trainings of a single `kedro run`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ruri_kedro.registry.runs.tracking import active_run_id, log_metric_tree, set_tags


@contextmanager
def child_run(name: str, params: Mapping[str, Any]) -> Iterator[str | None]:
    """Open a run below the open one until the end of the block, with these parameters; gives its id.

    What is logged to the open run meanwhile, such as the curves of a training, goes there. An error closes it as
    failed, an interruption as killed. Without an open run there is none below it, and the id is None.
    """
    if active_run_id() is None:
        yield None
        return
    import mlflow

    with mlflow.start_run(run_name=name, nested=True) as run:
        try:
            mlflow.log_params({key: _text(value) for key, value in params.items()})
            yield run.info.run_id
        except (KeyboardInterrupt, SystemExit):  # MLflow would call it failed
            mlflow.end_run("KILLED")
            raise


@dataclass(frozen=True)
class ParentRun:
    """A run that others are put below, also from another process."""

    uri: str
    experiment_id: str
    run_id: str


def open_parent() -> ParentRun | None:
    """The run that is open in this thread; None if there is none."""
    if active_run_id() is None:
        return None
    import mlflow

    info = mlflow.active_run().info
    return ParentRun(mlflow.get_tracking_uri(), info.experiment_id, info.run_id)


@contextmanager
def child_run_of(parent: ParentRun | None, name: str, params: Mapping[str, Any]) -> Iterator[str | None]:
    """As `child_run`, below a run that may be open in another process; without one there is none, and no id."""
    if parent is None or active_run_id() == parent.run_id:
        with child_run(name, params) as run_id:
            yield run_id
        return
    import mlflow

    mlflow.set_tracking_uri(parent.uri)
    below = {"mlflow.parentRunId": parent.run_id}
    with mlflow.start_run(experiment_id=parent.experiment_id, run_name=name, tags=below) as run:
        mlflow.log_params({key: _text(value) for key, value in params.items()})
        yield run.info.run_id


def log_scores(run_id: str | None, scores: Mapping[str, float], tags: Mapping[str, str]) -> None:
    """Put scores, named <task>/<metric>, and tags on a run; nothing without a run."""
    if run_id is not None:
        log_metric_tree(run_id, scores, prefix="scores")
        set_tags(run_id, tags)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
