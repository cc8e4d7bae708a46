"""Where MLflow keeps its runs and models: opened for a command, and its faults as one line with the remedy."""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RegistryError
from ruri_kedro.startup import without_collector

_SQLITE = "sqlite:///"
_PROBE_BYTES = 2**20  # about the size of an MLflow store without runs
_ELSEWHERE = f"or name another place: MLFLOW_TRACKING_URI={_SQLITE}/FOLDER/mlflow.db"
_FULL = "The disk is full: {place} cannot be written ({cause}). What was finished stays: make room, run the same again."
_READ_ONLY = f"{{place}} cannot be written ({{cause}}). Give yourself the right to write there, {_ELSEWHERE}"
_FORBIDDEN_FILE = "{place}: {cause}. Give yourself the right to read and write there, or name another place."
_DAMAGED = f"{{place}} is not a database that MLflow can read ({{cause}}). Restore it, move it away, {_ELSEWHERE}"
_LOCKED = "{place} is in use by another process ({cause}). Wait for it to end, then run the same again."
# What SQLite says, and what that means.
_SAID = {
    "disk is full": _FULL,
    "disk I/O error": _FULL,
    "readonly": _READ_ONLY,
    "unable to open": _READ_ONLY,
    "locked": _LOCKED,
    "not a database": _DAMAGED,
    "malformed": _DAMAGED,
}
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def connect(context: Any) -> None:
    """Point MLflow at the store that mlflow.yml names, as kedro-mlflow does for a run.

    Raises RegistryError if nothing was ever tracked there, or its file cannot be read.
    """
    file = store_file(context)
    if file is not None:
        if not file.exists():
            raise RegistryError(f"No model is registered yet: {file} is not there. Run: kedro run")
        check_readable(file)
    with without_collector():
        from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig

        class WithoutExperiment(KedroMlflowConfig):
            """A command starts no run, so it makes no experiment: it may read where it must not write."""

            def _set_experiment(self) -> None:
                pass

        WithoutExperiment.model_validate(dict(context.config_loader["mlflow"])).setup(context)


def store_file(context: Any) -> Path | None:
    """The file of a project's SQLite store; None where MLflow has a server or another database."""
    from kedro.config import MissingConfigException

    try:
        uri = context.config_loader["mlflow"].get("server", {}).get("mlflow_tracking_uri") or ""
    except MissingConfigException:
        return None
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def may_have_models(file: Path) -> bool:
    """Whether a SQLite store has a registered model, without MLflow, whose import takes seconds; True if unknown."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as store:
            return store.execute("SELECT 1 FROM registered_models").fetchone() is not None
    except sqlite3.Error:
        return True


def check_readable(file: Path) -> None:
    """Raise RegistryError unless the file is a database; MLflow would try again for minutes."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as store:
            store.execute("SELECT name FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise RegistryError(explained(error, file) or f"{file}: {error}") from error


def check_writable(file: Path) -> None:
    """Raise RegistryError unless the database, or its folder where there is none yet, can be written."""
    if not file.parent.is_dir():
        raise RegistryError(f"{file.parent} is not a folder, so {file} cannot be made. Make it, {_ELSEWHERE}")
    try:
        # SQLite writes its journal beside the database.
        with tempfile.TemporaryFile(dir=file.parent) as probe:
            probe.write(bytes(_PROBE_BYTES))
        if file.exists():
            check_readable(file)
            with closing(sqlite3.connect(file, timeout=0)) as store:
                store.execute("BEGIN IMMEDIATE")
                store.rollback()
    except OSError as error:
        said = _FULL if error.errno in _FULL_DISK else _READ_ONLY
        raise RegistryError(said.format(place=file, cause=error.strerror)) from error
    except sqlite3.Error as error:
        if "locked" not in str(error):  # by a run beside this one: MLflow waits for it
            raise RegistryError(explained(error, file) or f"{file}: {error}") from error


def explained(error: BaseException, place: object) -> str | None:
    """What a full disk, a forbidden or a damaged file means, if that is the cause of an error; else None.

    `place` is what is named where the error itself names no file.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in (*_FULL_DISK, *_FORBIDDEN):
            wanted = _FULL if cause.errno in _FULL_DISK else _FORBIDDEN_FILE
            return wanted.format(place=cause.filename or place, cause=os.strerror(cause.errno))
        if isinstance(cause, sqlite3.Error):
            said = next((text for key, text in _SAID.items() if key in str(cause)), None)
            if said:
                return said.format(place=place, cause=cause)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, as far as it is known."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
