"""Building, killing, changing and damaging an index of token vectors."""

import json
import multiprocessing
import random
import signal
from dataclasses import replace

import killed_process
import numpy as np
import pytest
from token_vectors import MODEL, SETTINGS, Collection, build, files, make_collection, make_queries

from ruri_kedro.errors import DamagedError, DataError
from ruri_kedro.search.multi_vector.build import build_index
from ruri_kedro.search.multi_vector.search import Searcher
from ruri_kedro.search.multi_vector.update import add_documents, delete_documents

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["token_vectors", "faiss"])

COLLECTION = make_collection(600)
MORE = make_collection(200, seed=5)
QUERIES = make_queries(COLLECTION, 20)


def hits(folder, queries=QUERIES, k=10):
    return list(Searcher(folder, SETTINGS, MODEL).search(queries, k))


def add(collection, folder, key="more"):
    add_documents(collection.blocks, folder, SETTINGS, MODEL, key)


def change(folder):
    """Build, add, delete: what is killed."""
    build(COLLECTION, folder)
    if not (folder / "segment-00001").exists() or "added" in (folder / "manifest.json").read_text("utf-8"):
        add(MORE, folder)


def run_apart(folder, seconds=None):
    return killed_process.run_apart(_PROCESSES, build, (COLLECTION, folder), seconds)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An index that was built at once, in a process of its own, and the seconds that took."""
    folder = tmp_path_factory.mktemp("whole") / "index"
    assert run_apart(folder.with_name("warm"))[0] == 0
    code, seconds = run_apart(folder)
    assert code == 0
    return folder, seconds


@pytest.fixture
def index(tmp_path):
    build(COLLECTION, tmp_path / "index")
    return tmp_path / "index"


def kill_and_continue(whole, folder, moment):
    expected, seconds = whole
    chance = random.Random(moment)
    for _ in range(2):
        assert run_apart(folder, chance.uniform(0, seconds))[0] in (0, -signal.SIGKILL)
    assert run_apart(folder)[0] == 0
    assert files(folder) == files(expected)
    assert [path.name for path in folder.parent.iterdir()] == ["index"]


@pytest.mark.parametrize("moment", range(2))
def test_a_killed_build_is_continued_to_the_same_bytes(whole, tmp_path, moment):
    kill_and_continue(whole, tmp_path / "index", moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(100, 120))
def test_twenty_kills(whole, tmp_path, moment):
    kill_and_continue(whole, tmp_path / "index", moment)


class _Killed(BaseException):
    """Stands for a kill between two writes."""


def stop_after(monkeypatch, writes):
    """Let the process end, as far as files can tell, when so many files have been put in place."""
    import os

    replace_, count = os.replace, iter(range(writes))

    def counted(source, target):
        if next(count, None) is None:
            raise _Killed
        replace_(source, target)

    monkeypatch.setattr(os, "replace", counted)


@pytest.mark.parametrize("writes", [0, 1, 4, 6, 8])
def test_an_addition_stopped_between_two_files_is_continued_to_the_same_bytes(index, tmp_path, monkeypatch, writes):
    build(COLLECTION, tmp_path / "other")
    add(MORE, tmp_path / "other")
    before = hits(index)
    with monkeypatch.context() as patched, pytest.raises(_Killed):
        stop_after(patched, writes)
        add(MORE, index)
    assert hits(index) == before
    add(MORE, index)
    assert files(index) == files(tmp_path / "other")
    add(MORE, index)  # it was added last
    assert files(index) == files(tmp_path / "other")


def test_blocks_and_what_is_there_decide_nothing(whole, tmp_path):
    build_index(lambda done: COLLECTION.blocks(done, 100), tmp_path / "index", SETTINGS, MODEL, "documents")
    assert files(tmp_path / "index") == files(whole[0])
    build_index(lambda done: pytest.fail("built again"), tmp_path / "index", SETTINGS, MODEL, "documents")
    build(make_collection(50), tmp_path / "other")
    build(COLLECTION, tmp_path / "other", replace(SETTINGS, centroids=100))
    build(COLLECTION, tmp_path / "other")
    assert files(tmp_path / "other") == files(whole[0])


def joined(one, other):
    return Collection(one.docids + other.docids, one.documents + other.documents)


def test_adding_is_as_building_anew(index, tmp_path):
    """Recall@10 of both, by the best of brute force."""
    everything = joined(COLLECTION, MORE)
    queries = make_queries(everything, 100)
    add(MORE, index)
    build(everything, tmp_path / "anew")
    recalls = [
        np.mean([everything.best(query, 1)[0] in dict(found) for query, found in zip(queries, some, strict=True)])
        for some in (hits(index, queries), hits(tmp_path / "anew", queries))
    ]
    assert recalls[0] >= recalls[1] - 0.002


def test_deleting_is_as_building_anew(tmp_path):
    """Recall@10 of both, by the best of brute force."""
    build(joined(COLLECTION, MORE), tmp_path / "index")
    delete_documents(tmp_path / "index", MORE.docids, MODEL)
    build(COLLECTION, tmp_path / "anew")
    queries = make_queries(COLLECTION, 100)
    recalls = [
        np.mean([COLLECTION.best(query, 1)[0] in dict(found) for query, found in zip(queries, some, strict=True)])
        for some in (hits(tmp_path / name, queries) for name in ("index", "anew"))
    ]
    assert recalls[0] >= recalls[1] - 0.002


def test_what_is_deleted_is_not_found_and_can_be_added_again(index):
    gone = [found[0][0] for found in hits(index)]
    kept = [(docid, vectors) for docid, vectors in zip(COLLECTION.docids, COLLECTION.documents, strict=True)]
    delete_documents(index, sorted({*gone}), MODEL)
    assert not {docid for found in hits(index, k=50) for docid, _ in found} & {*gone}
    again = Collection(*map(list, zip(*(row for row in kept if row[0] in gone), strict=True)))
    add(again, index)
    assert [found[0][0] for found in hits(index)] == gone
    delete_documents(index, gone[:1], MODEL)
    manifest = json.loads((index / "manifest.json").read_text("utf-8"))
    assert (manifest["documents"], manifest["deleted"]) == (599, "deleted-00002.npy")
    assert not (index / "deleted-00001.npy").exists()


def test_all_may_be_deleted(index):
    delete_documents(index, COLLECTION.docids, MODEL)
    assert hits(index) == [[]] * len(QUERIES)


@pytest.mark.parametrize(
    ("docids", "message"),
    [(["文書0-1", "no such"], "no such is not in the index"), (["文書0-1"] * 2, "文書0-1 is there 2")],
)
def test_deleting_unknown_or_double_docids_is_refused_and_deletes_nothing(index, docids, message):
    before = files(index)
    with pytest.raises(DataError, match=message):
        delete_documents(index, docids, MODEL)
    assert files(index) == before


def test_a_deleted_docid_is_not_deleted_again(index):
    delete_documents(index, ["文書0-1"], MODEL)
    with pytest.raises(DataError, match="文書0-1 is not in the index"):
        delete_documents(index, ["文書0-1"], MODEL)


def test_adding_what_is_there_is_refused_and_adds_nothing(index):
    before = files(index)
    with pytest.raises(DataError, match="docid 文書0-3 is in the index"):
        add(Collection(["文書0-3"], COLLECTION.documents[:1]), index)
    with pytest.raises(DataError, match="16 components for an index of 32"):
        add(make_collection(3, 16, seed=9), index)
    assert files(index) == before


def test_double_docids_are_refused_and_the_index_that_was_there_stays(index):
    before = files(index.parent)
    with pytest.raises(DataError, match="docid a is there 2 times"):
        build(Collection(["a", "b", "a"], COLLECTION.documents[:3]), index, replace(SETTINGS, seed=1))
    assert files(index.parent) == before


def block(vectors, docids=("a", "b"), lengths=(1, 1)):
    return lambda done: [(list(docids), np.asarray(vectors, dtype=np.float32), list(lengths))]


UNIT = np.eye(2, 8)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (block(UNIT * [[1], [2]]), "docid b: a token vector has length 2"),
        (block(UNIT * [[1], [np.nan]]), "docid b: a token vector has length nan"),
        (block(np.eye(2, 12)), "12 components: an index takes multiples of 8"),
        (block(UNIT, lengths=(1, 2)), "a length for each docid"),
        (block(UNIT, docids=("a",)), "a length for each docid"),
        (block(UNIT[0]), "a length for each docid"),
        (block(UNIT[:0], lengths=(0, 0)), "no document with a token vector"),
        (lambda done: [], "no document with a token vector"),
        (lambda done: [*block(UNIT)(0), *block(np.eye(2, 16))(0)], "16 components after vectors of 8"),
    ],
)
def test_wrong_documents_are_one_error_and_leave_nothing(tmp_path, blocks, message):
    with pytest.raises(DataError, match=message):
        build_index(blocks, tmp_path / "index", SETTINGS, MODEL, "documents")
    assert not list(tmp_path.iterdir())


def test_an_index_of_another_model_is_refused(index):
    for use in (
        lambda: Searcher(index, SETTINGS, "other"),
        lambda: delete_documents(index, COLLECTION.docids[:1], "other"),
        lambda: add_documents(MORE.blocks, index, SETTINGS, "other", "more"),
    ):
        with pytest.raises(DataError, match="the index is of the model digest of a model, not of other"):
            use()


def test_a_folder_without_an_index_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no index of token vectors"):
        Searcher(tmp_path, SETTINGS, MODEL)


@pytest.mark.parametrize("name", ["packed.npy", "listed.npy", "documents.parquet"])
def test_a_damaged_file_is_refused_by_its_name_and_built_again(index, whole, name):
    path = index / "segment-00000" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=name):
        Searcher(index, SETTINGS, MODEL)
    build(COLLECTION, index)
    assert files(index) == files(whole[0])


def test_a_missing_file_and_a_damaged_manifest_are_refused(index):
    (index / "centroids.npy").unlink()
    with pytest.raises(DamagedError, match=r"centroids.npy: the file is missing"):
        Searcher(index, SETTINGS, MODEL)
    (index / "manifest.json").write_text("{}x")
    with pytest.raises(DamagedError, match=r"manifest.json"):
        Searcher(index, SETTINGS, MODEL)


@pytest.mark.parametrize("ending", ["vectors-00001.npy", "shard-00002.json", "documents-00001.parquet"])
def test_a_damaged_spool_is_written_again(whole, tmp_path, ending, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(_Killed):
        stop_after(patched, 30)
        build(COLLECTION, tmp_path / "index")
    (path,) = tmp_path.glob(f".unfinished-index/spool/{ending}")
    path.write_bytes(path.read_bytes()[:-1])
    build(COLLECTION, tmp_path / "index")
    assert files(tmp_path / "index") == files(whole[0])
