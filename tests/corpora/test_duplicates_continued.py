"""A search for near duplicates that was stopped goes on where it stood, and finds what one without a stop finds."""

import errno
import multiprocessing
import os
import signal
from collections import Counter

import pytest
import stopped_search
from stopped_search import FAMILY, RULES, corpus, full_disk, search, stopped

from ruri_kedro.corpora.duplicates import DuplicateRules, _Store, find_duplicates
from ruri_kedro.errors import DataError
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables.files import read_json
from ruri_kedro.text.normalize import match_key
from ruri_kedro.text.overlap import MinHash

_PROCESSES = multiprocessing.get_context("forkserver")
SHARDS = [{match_key(text) for _, text in shard} for shards in corpus().values() for shard in shards]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Rows of a search that nothing stopped, and how often it wrote."""
    writes = Counter()
    with pytest.MonkeyPatch.context() as patch:
        append = _Store._append
        patch.setattr(_Store, "_append", lambda *given: (writes.update(["all"]), append(*given)))
        rows = search(tmp_path_factory.mktemp("whole"))
    assert len(rows) > 40 and {row["source"] for row in rows} == {"a", "b", "c"}
    return rows, writes["all"]


@pytest.fixture
def work(monkeypatch):
    """What was hashed (keys) and joined (bands), in order."""
    done = {"hashed": [], "joined": []}
    buckets, portions = MinHash.buckets, _Store._portions
    monkeypatch.setattr(MinHash, "buckets", lambda self, keys: done["hashed"].extend(keys) or buckets(self, keys))
    monkeypatch.setattr(_Store, "_portions", lambda self, band: done["joined"].append(band) or portions(self, band))
    return done


def test_a_disk_that_is_full_at_any_write_costs_no_more_than_a_shard_or_a_band(whole, tmp_path, work):
    rows, writes = whole
    for write in range(0, writes, 5):
        work["hashed"].clear()
        work["joined"].clear()
        scratch = tmp_path / str(write)
        with stopped(write, full_disk), pytest.raises(OSError) as raised:
            search(scratch)
        assert raised.value.errno == errno.ENOSPC
        assert search(scratch) == rows
        assert not list(scratch.iterdir())
        twice = {key for key, times in Counter(work["hashed"]).items() if times > 1}
        assert set(work["hashed"]) == set.union(*SHARDS) and any(twice <= shard for shard in SHARDS)
        assert len(work["joined"]) <= RULES["bands"] + 1 and len(set(work["joined"])) == RULES["bands"]


@pytest.mark.parametrize("stops", [(3, 8, 11, 2), (0, 30, 0, 30), (45, 1, 1, 20)])
def test_a_search_may_be_stopped_again_and_again(whole, tmp_path, stops):
    for write in stops:
        with stopped(write, full_disk), pytest.raises(OSError):
            search(tmp_path)
    assert search(tmp_path, memory_mb=2) == whole[0]


def test_a_search_of_another_process_is_not_removed(whole, tmp_path):
    rules = parse(DuplicateRules, {**RULES, "scratch": str(tmp_path)}, "deduplication")
    first = find_duplicates(corpus(), FAMILY, rules, "old")
    row = next(first)
    assert search(tmp_path, key="new") == whole[0] == [row, *first]


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_killed_search_is_continued(whole, tmp_path, work, share):
    rows, writes = whole
    process = _PROCESSES.Process(target=stopped_search.killed, args=(tmp_path, int(share * writes)))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    journal = read_json(tmp_path / ".duplicates-k/journal.json")
    assert search(tmp_path) == rows
    assert len(work["hashed"]) == 180 - journal["sizes"]["docids"] // 12 < 180
    assert work["joined"] == [f"band-{band}" for band in range(journal["bands"], RULES["bands"])]


def test_what_is_read_fails_and_the_texts_before_are_not_read_again(whole, tmp_path, work):
    def fails():
        yield from corpus()["b"][0][:30]
        raise DataError("b.jsonl, row 31: broken")

    def never():
        raise AssertionError("read")
        yield

    rules = parse(DuplicateRules, {**RULES, "scratch": str(tmp_path)}, "deduplication")
    with pytest.raises(DataError, match="row 31"):
        list(find_duplicates({"a": corpus()["a"], "b": [fails()], "c": []}, FAMILY, rules, "k"))
    work["hashed"].clear()
    again = {**corpus(), "a": [never(), never()]}
    assert list(find_duplicates(again, FAMILY, rules, "k")) == whole[0]
    assert set(work["hashed"]) == set.union(*SHARDS[2:])


def test_another_search_begins_anew_and_removes_what_is_left(whole, tmp_path, work):
    (tmp_path / "other").mkdir()
    with stopped(40, full_disk), pytest.raises(OSError):
        search(tmp_path, key="old")
    assert (tmp_path / ".duplicates-old").exists()
    work["hashed"].clear()
    assert search(tmp_path, key="new") == whole[0] and len(work["hashed"]) == 180
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def one_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("band-3", lambda path: os.truncate(path, 100)),
        ("keys", os.unlink),
        ("journal.json", lambda path: os.truncate(path, 0)),
        *((name, one_bit) for name in ("band-3", "keys", "ends", "docids", "journal.json")),
    ],
)
def test_what_did_not_come_to_the_disk_or_was_damaged_there_is_not_believed(whole, tmp_path, work, name, loss, caplog):
    with stopped(40, full_disk), pytest.raises(OSError):
        search(tmp_path)
    loss(tmp_path / ".duplicates-k" / name)
    work["hashed"].clear()
    assert search(tmp_path) == whole[0] and len(work["hashed"]) == 180
    assert f".duplicates-k/{name}: missing or damaged" in caplog.text


def test_two_runs_do_not_share_a_search(whole, tmp_path):
    rules = parse(DuplicateRules, {**RULES, "scratch": str(tmp_path)}, "deduplication")
    first = find_duplicates(corpus(), FAMILY, rules, "k")
    row = next(first)
    with pytest.raises(DataError, match=r"another run is at this search. Wait for its end, or name another folder in"):
        search(tmp_path)
    assert [row, *first] == whole[0]
