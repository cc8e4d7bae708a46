"""The addresses in `mlflow.db` of a project that was moved or copied.

MLflow keeps the place of every file as an absolute address. In a copy those would go on to lead to the original: models
would be read there, and new ones written there. So before MLflow opens the database of a project, the addresses below
the folder where the project stood are made those of the folder where it stands.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ruri_kedro.errors import RegistryError

logger = logging.getLogger(__name__)

# Columns of MLflow's tables that hold addresses; a version of MLflow that lacks one has no addresses there.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
_WAIT = 30.0  # seconds for another writer of the database


def follow_project(database: Path, project: Path, experiment: str, folder: str) -> None:
    """Make the addresses in the project's `database` follow the project, if it was moved or copied.

    `folder` is where the experiment keeps its files, from the project's root; an absolute path or an address is left as
    it is, and so is a database outside the project. Raises RegistryError where the files were not moved along, or the
    database cannot be written.
    """
    project = project.resolve()
    if Path(folder).is_absolute() or "://" in folder or not _is_in(database, project) or not database.is_file():
        return
    old = _former_root(database, experiment, folder)
    if old is None or old == project:
        return
    _check_files(database, old, project, folder)
    try:
        _rewrite(database, experiment, folder, project)
    except sqlite3.Error as error:
        raise RegistryError(
            f"{database}: its addresses lead to {old}, from where this project was moved or copied, and cannot be "
            f"changed ({error}). Make the file and its folder writable, and run the same again."
        ) from error
    logger.info("The project was moved or copied from %s: %s now leads to the files here.", old, database)
    if missing := list(_missing(database)):
        logger.warning(
            "The files of %d logged models are not in %s, such as %s. If they are still in %s, copy them from there.",
            len(missing), project / folder, missing[0].name, old / folder,
        )  # fmt: skip


def local_path(address: str) -> Path | None:
    """The path of an address in a file system of this machine; None of any other address."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(address) if address.startswith("/") else None


def _is_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder)


def _former_root(database: Path, experiment: str, folder: str) -> Path | None:
    """The project's folder as the database has it; None if it has none, or the files were never in a project."""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT)) as found:
            return _root_in(found, experiment, folder)
    except sqlite3.Error:  # not a database of MLflow, which says so itself
        return None


def _root_in(found: sqlite3.Connection, experiment: str, folder: str) -> Path | None:
    row = found.execute("SELECT artifact_location FROM experiments WHERE name = ?", [experiment]).fetchone()
    path = local_path(row[0] or "") if row else None
    below = Path(folder).parts
    return Path(*path.parts[: -len(below)]) if path and path.parts[-len(below) :] == below else None


def _check_files(database: Path, old: Path, project: Path, folder: str) -> None:
    if (old / folder).exists() and not (project / folder).exists():
        raise RegistryError(
            f"{database}: the files of its runs and models are in {old / folder}, outside this project, and "
            f"{project / folder} is missing. Copy them: cp -r '{old / folder}' '{project / folder}'. If they are to "
            f"stay there, write that path in conf/base/mlflow.yml "
            f"(tracking.experiment.create_experiment_kwargs.artifact_location)."
        )


def _rewrite(database: Path, experiment: str, folder: str, project: Path) -> None:
    """Replace the old root by the new one in all addresses, in one transaction."""
    with closing(sqlite3.connect(database, timeout=_WAIT, isolation_level=None)) as found:
        found.execute("BEGIN IMMEDIATE")
        old = _root_in(found, experiment, folder)  # another process may have been first
        if old is not None and old != project:
            for table, column in _columns(found):
                for before, after in ((old.as_uri(), project.as_uri()), (str(old), str(project))):
                    found.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        [after, len(before) + 1, before, len(before) + 1, f"{before}/"],
                    )
        found.execute("COMMIT")


def _columns(found: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for table, column in _COLUMNS:
        if column in {row[1] for row in found.execute(f"PRAGMA table_info({table})")}:
            yield table, column


def _missing(database: Path) -> Iterator[Path]:
    """The folders of logged models that are not there."""
    with closing(sqlite3.connect(database, timeout=_WAIT)) as found:
        query = "SELECT artifact_location FROM logged_models WHERE lifecycle_stage = 'active'"
        paths = [local_path(address or "") for (address,) in found.execute(query)]
    yield from (path for path in paths if path is not None and not path.exists())
