"""kill -9 at any moment of data_engineering: the finished tables are those of an uninterrupted run."""

import multiprocessing
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from table_run import TABLES, run_tables, write_raw

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["table_run"])


def run_apart(root: Path, seconds: float | None = None) -> int:
    """Exit code of a run in a process of its own, which is killed after so many seconds."""
    process = _PROCESSES.Process(target=run_tables, args=(root,))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
    process.join()
    return process.exitcode


def files(root: Path) -> dict[str, bytes]:
    """The bytes of every file below the tables, hidden ones among them."""
    paths = (path for name in TABLES for path in (root / name).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(folder, seconds) of a run that nothing stopped."""
    root = tmp_path_factory.mktemp("whole")
    write_raw(root / "raw")
    assert run_apart(root) == 0
    for name in TABLES:  # the first run started the server of processes, too
        shutil.rmtree(root / name)
    began = time.monotonic()
    assert run_apart(root) == 0
    return root, time.monotonic() - began


def test_the_corpus_has_several_shards_and_something_in_every_table(uninterrupted):
    root, _ = uninterrupted
    for name in TABLES:
        assert len(list((root / name).rglob("part-*.parquet"))) >= (
            4 if name in ("passages", "pairs", "matches") else 1
        )


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_a_killed_run_is_continued_to_the_same_files(uninterrupted, tmp_path, moment):
    whole, seconds = uninterrupted
    shutil.copytree(whole / "raw", tmp_path / "raw")
    chance = random.Random(moment)
    assert run_apart(tmp_path, chance.uniform(0, seconds)) in (0, -signal.SIGKILL)
    run_apart(tmp_path, chance.uniform(0, seconds))
    assert run_apart(tmp_path) == 0
    made, expected = files(tmp_path), files(whole)
    assert made.keys() == expected.keys()
    assert [name for name in made if made[name] != expected[name]] == []
    assert not list((tmp_path / "scratch").glob(".*"))
