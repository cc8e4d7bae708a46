"""The store of MLflow: a full disk, a read-only folder and a damaged file are each one line with the remedy."""

import errno
import re
import resource
import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import pytest
from kedro_project import KEDRO, empty_store, make_project

from ruri_kedro.cli.mlflow_store import check_readable, check_writable, connect, explained
from ruri_kedro.errors import RegistryError


def wrapped(cause: Exception) -> Exception:
    """As SQLAlchemy and MLflow hand it on."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    try:
        try:
            raise OperationalError("INSERT INTO runs", {}, cause) from cause
        except OperationalError as error:
            raise MlflowException(str(error)) from error
    except MlflowException as error:
        return error


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (sqlite3.OperationalError("database or disk is full"), "The disk is full: mlflow.db .*make room"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "mlflow.db cannot be written .*right to"),
        (sqlite3.OperationalError("unable to open database file"), "mlflow.db cannot be written .*MLFLOW_TRACKING_URI"),
        (sqlite3.OperationalError("database is locked"), "mlflow.db is in use by another process"),
        (sqlite3.DatabaseError("file is not a database"), "mlflow.db is not a database .*Restore it"),
        (OSError(errno.ENOSPC, "No space left", "a.parquet"), "The disk is full: a.parquet"),
        (OSError(errno.EROFS, "Read-only file system", "runs"), "runs: Read-only file system. Give yourself the right"),
    ],
)
def test_what_the_disk_says_is_one_line_with_the_remedy(cause, said):
    message = explained(wrapped(cause), "mlflow.db")
    assert "\n" not in message
    assert re.search(said, message), message


def test_other_errors_keep_their_traceback():
    assert explained(wrapped(sqlite3.OperationalError("no such table: runs")), "mlflow.db") is None
    assert explained(ValueError("a bug"), "mlflow.db") is None


def test_a_store_that_can_be_used_is_left_as_it_is(tmp_path):
    check_writable(tmp_path / "mlflow.db")
    assert not list(tmp_path.iterdir())
    file = tmp_path / "mlflow.db"
    file.write_bytes(empty_store().read_bytes())
    check_writable(file)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
    assert file.read_bytes() == empty_store().read_bytes()


def test_a_store_in_use_by_another_run_is_waited_for_by_mlflow(tmp_path):
    file = tmp_path / "mlflow.db"
    file.write_bytes(empty_store().read_bytes())
    other = sqlite3.connect(file)
    other.execute("BEGIN IMMEDIATE")
    check_writable(file)
    assert other.in_transaction, "the other one is not disturbed"
    other.close()
    assert file.read_bytes() == empty_store().read_bytes()


def test_no_folder_and_no_database_are_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match=r"file is not a folder, so .*mlflow.db cannot be made"):
        check_writable(tmp_path / "file/mlflow.db")
    text = tmp_path / "mlflow.db"
    text.write_text("no database\n" * 200, encoding="utf-8")
    for check in (check_readable, check_writable):
        with pytest.raises(RegistryError, match=r"mlflow.db is not a database that MLflow can read"):
            check(text)


def test_a_read_only_folder_is_said(tmp_path):
    """A mount, since the user of the tests may be root, who writes wherever a disk lets him."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user cannot mount a file system")
    try:
        with pytest.raises(RegistryError, match=r"mlflow.db cannot be written \(Read-only file system\)"):
            check_writable(tmp_path / "mlflow.db")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_commands_do_not_make_a_store(tmp_path):
    uri = {"server": {"mlflow_tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}}
    with pytest.raises(RegistryError, match=r"No model is registered yet: .*mlflow.db is not there. Run: kedro run"):
        connect(SimpleNamespace(config_loader={"mlflow": uri}))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_ends_a_run_in_one_line(tmp_path):
    """Files of this process may have half a megabyte: writing more fails as on a full disk, for every user."""
    project = make_project(tmp_path)
    (project / "mlflow.db").unlink()
    cli = project / "src/tiny_project/cli.py"
    cli.write_text("from ruri_kedro.cli.commands import cli  # noqa: F401\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, KEDRO, "run"],
        cwd=project,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, 2**19)),
    )
    assert done.returncode == 1 and done.stderr.startswith("Error: The disk is full: "), done.stderr
    assert "mlflow.db" in done.stderr and "Traceback" not in done.stdout + done.stderr
