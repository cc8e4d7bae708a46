"""kill -9 at any moment of data_engineering or negative_mining: the tables are those of an uninterrupted run."""

import multiprocessing
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mining_run
import pytest
import table_run

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["table_run", "mining_run"])


@dataclass(frozen=True)
class Work:
    """What is killed, the tables it makes, and those it is given."""

    run: Callable[[Path], None]
    tables: tuple[str, ...]
    given: tuple[str, ...]


WORK = {
    "data_engineering": Work(table_run.run_tables, table_run.TABLES, ("raw",)),
    "negative_mining": Work(mining_run.run_mining, mining_run.TABLES, ("raw", *table_run.TABLES)),
}


def run_apart(work: Work, root: Path, seconds: float | None = None) -> int:
    """Exit code of a run in a process of its own, which is killed after so many seconds."""
    process = _PROCESSES.Process(target=work.run, args=(root,))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
    process.join()
    return process.exitcode


def files(work: Work, root: Path) -> dict[str, bytes]:
    """The bytes of every file below the tables, hidden ones among them."""
    paths = (path for name in work.tables for path in (root / name).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Folder with all tables, and the seconds that each work took without being stopped."""
    root = tmp_path_factory.mktemp("whole")
    table_run.write_raw(root / "raw")
    seconds = {}
    for name, work in WORK.items():
        assert run_apart(work, root) == 0
        before = set(root.iterdir())
        for table in work.tables:  # the first run started the server of processes, too
            shutil.rmtree(root / table)
        for folder in before - {root / name for name in ("raw", *table_run.TABLES)}:
            shutil.rmtree(folder, ignore_errors=True)
        began = time.monotonic()
        assert run_apart(work, root) == 0
        seconds[name] = time.monotonic() - began
    return root, seconds


@pytest.mark.slow
def test_the_corpus_has_several_shards_and_something_in_every_table(uninterrupted):
    root, _ = uninterrupted
    for name in (*table_run.TABLES, *mining_run.TABLES):
        some = 4 if name in ("passages", "pairs", "matches", "candidates", "examples") else 1
        assert len(list((root / name).rglob("part-*.parquet"))) >= some


@pytest.mark.slow
@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("moment", range(20))
def test_a_killed_run_is_continued_to_the_same_files(uninterrupted, tmp_path, moment, name):
    (whole, seconds), work = uninterrupted, WORK[name]
    for folder in work.given:
        shutil.copytree(whole / folder, tmp_path / folder)
    chance = random.Random(moment)
    assert run_apart(work, tmp_path, chance.uniform(0, seconds[name])) in (0, -signal.SIGKILL)
    run_apart(work, tmp_path, chance.uniform(0, seconds[name]))
    assert run_apart(work, tmp_path) == 0
    made, expected = files(work, tmp_path), files(work, whole)
    assert made.keys() == expected.keys()
    assert [path for path in made if made[path] != expected[path]] == []
    assert not list((tmp_path / "scratch").glob(".*"))
