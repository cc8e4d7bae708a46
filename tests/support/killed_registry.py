"""Deeds on a registry in processes of their own, which are killed before the n-th write."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WRITES = {"INSERT", "UPDATE", "DELETE"}


def forks() -> Any:
    """The context in which processes of `run_killed` start in a moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["warm_registry"])
    return context


def run_killed(context: Any, deed: Callable[..., None], store: Path, kill_at: int, *args: Any) -> int | None:
    """Run a deed on a store and kill it before its `kill_at`-th write; gives the writes that it made if it ended.

    A write is a statement that changes the database, or files that are put into the store.
    """
    counted = store / f".writes-{kill_at}"
    process = context.Process(target=_run, args=(deed, store, kill_at, counted, args))
    process.start()
    process.join(300)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return int(counted.read_text("utf-8")) if process.exitcode == 0 else None


def _run(deed: Callable[..., None], store: Path, kill_at: int, counted: Path, args: tuple) -> None:
    import mlflow

    from ruri_kedro.registry.runs.liveness import tag_with_process

    writes = _count_writes(kill_at)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    tag_with_process()
    mlflow.set_tracking_uri(f"sqlite:///{store / 'mlflow.db'}")
    mlflow.set_registry_uri(None)
    mlflow.set_experiment("test")
    deed(*args)
    counted.write_text(str(len(writes)), "utf-8")


def _count_writes(kill_at: int) -> list[str]:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    writes: list[str] = []

    def about_to_write(what: str) -> None:
        writes.append(what)
        if len(writes) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(Engine, "before_cursor_execute")
    def of_statement(connection, cursor, statement, *_):
        if statement.split(None, 1)[0].upper() in _WRITES:
            about_to_write(statement)

    for name in ("log_artifact", "log_artifacts"):
        original = getattr(LocalArtifactRepository, name)

        def counted(self, *args, _original=original, **kwargs):
            about_to_write("files")
            return _original(self, *args, **kwargs)

        setattr(LocalArtifactRepository, name, counted)
    return writes
