"""Several processes write one table, index or cache at once: one works, the others are told, no row is lost."""

import errno
import multiprocessing
import os
import random
import time
from contextlib import contextmanager

import pyarrow as pa
import pytest

from ruri_kedro.errors import DataError
from ruri_kedro.tables import SCHEMAS, Part, ShardedPart, Table, files, store, write_table
from ruri_kedro.tables.files import remove_leftovers, replace_dir, sole_user

SCORES = SCHEMAS["scores"]
SHARD_ROWS = 40
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["ruri_kedro.tables"])


def rows(count, start=0):
    return [
        {"model": "m", "task": "t", "metric": "ndcg@10", "query_id": str(start + i), "score": i / 7}
        for i in range(count)
    ]


def part(shards, sharded, pause):
    """A part of so many shards, whose key says how many; each takes a moment to make."""

    def block(number):
        time.sleep(pause)
        return rows(SHARD_ROWS, number * SHARD_ROWS)

    if sharded:
        return ShardedPart(
            f"{shards} shards",
            lambda done: (pa.Table.from_pylist(block(n), schema=SCORES) for n in range(len(done), shards)),
        )
    return Part(f"{shards} shards", lambda: (block(number) for number in range(shards)))


def write(root, shards, sharded, seed):
    """Wait a moment, write the table; how that ended: ok, told, or another error."""
    store.SHARD_ROWS = SHARD_ROWS
    rng = random.Random(seed)
    time.sleep(rng.random() * 0.02)
    try:
        write_table(root, SCORES, {"a": part(shards, sharded, rng.random() * 0.004), "b": part(1, False, 0)})
        return "ok"
    except DataError as error:
        return "told" if "another run is writing it" in str(error) else repr(error)
    except BaseException as error:
        return repr(error)


def work_off(tasks, ends):
    """A process that writes: calls what it is given until that is None, and says how each ended."""
    for function, arguments in iter(tasks.get, None):
        ends.put(function(*arguments))


@contextmanager
def processes(count):
    """A function that has so many processes call, at once, a function with different arguments; gives their ends."""
    tasks, ends = [_PROCESSES.Queue() for _ in range(count)], _PROCESSES.Queue()
    running = [_PROCESSES.Process(target=work_off, args=(queue, ends)) for queue in tasks]
    for process in running:
        process.start()

    def call(function, calls):
        for queue, arguments in zip(tasks, calls, strict=True):
            queue.put((function, arguments))
        return [ends.get(timeout=120) for _ in tasks]

    try:
        yield call
    finally:
        for queue, process in zip(tasks, running, strict=True):
            queue.put(None)
            process.join()


def is_whole(table, shards):
    """Whether part `a` has all rows that its key stands for, in order, and its manifest says so."""
    found = [row["query_id"] for row in table.iter_rows(["a"])]
    return found == [str(n) for n in range(shards * SHARD_ROWS)] and table.rows("a") == len(found)


def race(folder, tries, writers, same_work):
    """What went wrong in so many tries of several writers of one table, and how often one was told to wait."""
    rng, wrong, told = random.Random(writers), [], 0
    with processes(writers) as call:
        for number in range(tries):
            root, sharded = folder / f"{writers}-{number}", rng.random() < 0.5
            shards = [rng.randint(1, 5) for _ in range(1 if same_work else writers)] * (writers if same_work else 1)
            ends = call(write, [(root, count, sharded, rng.random()) for count in shards])
            told += ends.count("told")
            if set(ends) - {"ok", "told"} or "ok" not in ends:
                wrong.append((number, ends))
            elif fault := fault_in(Table(root, SCORES)):
                wrong.append((number, fault))
    return wrong, told


def fault_in(table):
    """What is wrong with a table after a race: its parts, the rows or manifest of `a`, or a file that is left over."""
    manifest = table.manifest("a")
    if not is_whole(table, int(manifest["key"].split()[0])) or table.rows("b") != SHARD_ROWS:
        return manifest
    return [name for name in sorted(os.listdir(table.root)) if name not in ("a", "b")]


def test_writers_of_one_table_lose_no_row(tmp_path):
    wrong, told = race(tmp_path, 10, writers=4, same_work=True)
    assert wrong == []
    assert told > 0


@pytest.mark.slow
@pytest.mark.parametrize("same_work", [True, False])
@pytest.mark.parametrize("writers", [2, 4])
def test_writers_of_one_table_lose_no_row_in_200_tries(tmp_path, writers, same_work):
    wrong, told = race(tmp_path, 200, writers, same_work)
    assert wrong == []
    assert told > 0


def hold(target, ready):
    """Write a folder and a table beside it, without end."""
    with replace_dir(target) as aside, sole_user(target.parent / "table"):
        (aside / "half").write_text("half")
        ready.set()
        time.sleep(600)


def test_what_a_living_process_writes_stays_and_what_it_left_when_killed_goes(tmp_path):
    ready = _PROCESSES.Event()
    writer = _PROCESSES.Process(target=hold, args=(tmp_path / "index", ready))
    writer.start()
    assert ready.wait(60)
    remove_leftovers(tmp_path / "index")
    remove_leftovers(tmp_path / "inde")
    assert len(list(tmp_path.glob(".writing-index-*/half"))) == 1
    with pytest.raises(DataError, match=r"table: another run is writing it. Wait for its end"):
        write_table(tmp_path / "table", SCORES, {"a": part(1, False, 0)})
    with replace_dir(tmp_path / "index") as aside:  # another writer of the same folder has one of its own
        (aside / "whole").write_text("whole")
    writer.kill()
    writer.join()
    write_table(tmp_path / "table", SCORES, {"a": part(1, False, 0)})
    remove_leftovers(tmp_path / "index")
    assert sorted(os.listdir(tmp_path)) == ["index", "table"] and (tmp_path / "index/whole").exists()


def replace(target, name, count):
    """Put a folder of two files in place so many times."""
    try:
        for _ in range(count):
            with replace_dir(target) as aside:
                (aside / "one").write_text(name)
                (aside / "two").write_text(name)
        return "ok"
    except BaseException as error:
        return repr(error)


def test_processes_that_replace_one_folder_leave_it_whole(tmp_path):
    with processes(2) as call:
        assert call(replace, [(tmp_path / "index", name, 40) for name in ("first", "second")]) == ["ok", "ok"]
    assert os.listdir(tmp_path) == ["index"]
    assert (tmp_path / "index/one").read_text() == (tmp_path / "index/two").read_text()


@pytest.mark.parametrize("sharded", [True, False])
def test_a_part_without_all_of_its_shards_gets_no_manifest(tmp_path, sharded, monkeypatch):
    """As where another program writes to the folder and the file system has no locks."""
    monkeypatch.setattr(store, "SHARD_ROWS", SHARD_ROWS)
    whole = store._write_shard

    def disturbed(folder, number, rows, key):
        said = whole(folder, number, rows, key)
        if number == 1:
            (folder / "part-00000.json").unlink()
        return said

    monkeypatch.setattr(store, "_write_shard", disturbed)
    with pytest.raises(DataError, match="3 shards with 120 rows were written, but 0 with 0 rows are there"):
        write_table(tmp_path, SCORES, {"a": part(3, sharded, 0)})
    assert Table(tmp_path, SCORES).parts() == []


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def refused(self):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.FileLock, "acquire", refused)
    write_table(tmp_path / "table", SCORES, {"a": part(1, True, 0)})
    assert Table(tmp_path / "table", SCORES).rows() == SHARD_ROWS
    assert f"{tmp_path}: nothing can be locked here ([Errno {errno.ENOLCK}] No locks available)" in caplog.text
