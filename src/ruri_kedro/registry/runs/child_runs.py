"""Runs of MLflow below the one that is open: one for each of several trainings of a single `kedro run`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


def log_scores(run_id: str | None, scores: Mapping[str, float], tags: Mapping[str, str]) -> None:
    """Put scores, named <task>/<metric>, and tags on a run; nothing without a run."""
    if run_id is not None:
        log_metric_tree(run_id, scores, prefix="scores")
        set_tags(run_id, tags)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
