"""Tasks stored once: the same task comes back, by the same digest, from files and from the hub."""

import json

import pytest

from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.benchmark.tasks.stored import hub_rows, store_task, stored_digest, stored_task, task_is_stored
from ruri_kedro.errors import DataError
from ruri_kedro.tables.raw import write_rows

ROWS = {
    "qa.jsonl": [
        {"qid": "q1", "question": "首都はどこ？", "context_id": "c1", "context": "東京は首都である。", "title": "東京"},
        {"qid": "q2", "question": "川の名は？", "context_id": "c2", "context": "信濃川は長い。", "title": ""},
    ],
    "sts.jsonl": [
        {"text1": "犬が走る", "text2": "犬が駆ける", "score": 4.5},
        {"text1": "雨だ", "text2": "晴れだ", "score": 0},
    ],
    "labels.jsonl": [{"text": "良い", "label": 1}, {"text": "悪い", "label": 0}],
    "topics.jsonl": [{"text": "雨の試合", "labels": ["天気", "運動"]}, {"text": "無題", "labels": []}],
    "pairs.jsonl": [
        {"qid": "q1", "query": "首都は？", "docid": "a", "title": "東京", "text": "首都である。", "label": 1},
        {"qid": "q1", "query": "首都は？", "docid": "b", "title": "大阪", "text": "西の都。", "label": 0},
    ],
}
SPECS = {
    "qa": {"type": "retrieval", "shape": "qa", "path": "qa.jsonl"},
    "sts": {"type": "sts", "path": "sts.jsonl"},
    "labels": {"type": "classification", "train": "labels.jsonl", "path": "labels.jsonl"},
    "groups": {"type": "clustering", "path": "labels.jsonl"},
    "same": {"type": "pair", "path": "sts.jsonl", "fields": {"label": "text2"}, "positive": ["晴れだ"]},
    "translations": {"type": "bitext", "path": "sts.jsonl"},
    "topics": {"type": "multilabel", "train": "topics.jsonl", "path": "topics.jsonl"},
    "pairs": {"type": "reranking", "shape": "pairs", "path": "pairs.jsonl"},
}


@pytest.fixture
def raw(tmp_path):
    root = tmp_path / "raw"
    root.mkdir()
    for name, rows in ROWS.items():
        (root / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return root


def refuse(row, path):
    pytest.fail(f"{row} was fetched")


@pytest.mark.parametrize("name", SPECS)
def test_a_task_comes_back_as_it_was_read(raw, tmp_path, name):
    store_task(name, SPECS[name], raw, tmp_path / "sets" / name, refuse)
    assert stored_task(tmp_path / "sets", name) == load_task(name, SPECS[name], raw)


def test_a_stored_task_is_not_read_again_until_its_file_changes(raw, tmp_path, monkeypatch):
    folder = tmp_path / "sets/sts"
    store_task("sts", SPECS["sts"], raw, folder, refuse)
    before = stored_digest(tmp_path / "sets", "sts")
    with monkeypatch.context() as patched:
        patched.setattr("ruri_kedro.benchmark.tasks.stored.load_task", lambda *_: pytest.fail("read again"))
        store_task("sts", SPECS["sts"], raw, folder, refuse)
    (raw / "sts.jsonl").write_text(
        '{"text1": "犬", "text2": "猫", "score": 1}\n{"text1": "a", "text2": "b", "score": 2}\n'
    )
    assert not task_is_stored("sts", SPECS["sts"], raw, folder)
    store_task("sts", SPECS["sts"], raw, folder, refuse)
    assert stored_digest(tmp_path / "sets", "sts") != before


def test_a_task_of_the_hub_is_that_of_its_files(raw, tmp_path):
    hub = {"id": "owner/pairs", "revision": "0" * 40, "split": "test"}
    spec = {"type": "reranking", "shape": "pairs", "hub": hub}

    def fetch(row, path):
        assert row == hub
        import gzip

        path.write_bytes(gzip.compress((raw / "pairs.jsonl").read_bytes()))

    store_task("pairs", spec, raw, tmp_path / "sets/pairs", fetch)
    assert stored_task(tmp_path / "sets", "pairs") == load_task("pairs", SPECS["pairs"], raw)
    store_task("pairs", spec, raw, tmp_path / "sets/pairs", refuse)


def test_a_file_of_a_data_set_on_the_hub_is_none_below_the_raw_folder(raw, tmp_path):
    """As Mr. TyDi has it in conf/ruri: in 0.1 its path was looked for among the raw files."""
    spec = {"type": "sts", "hub": {"id": "owner/pairs", "revision": "0" * 40, "path": "ja/test.jsonl"}}

    def fetch(row, path):
        write_rows(path, [{"text1": a, "text2": b, "score": len(a)} for a, b in (("犬", "猫"), ("山々", "川"))])

    store_task("s", spec, raw, tmp_path / "sets/s", fetch)
    assert stored_task(tmp_path / "sets", "s").texts1 == ("犬", "山々")


def test_data_sets_are_found_at_any_depth():
    corpus = {"id": "owner/set", "revision": "1", "name": "corpus"}
    assert hub_rows({"type": "reranking", "hub": {"id": "a"}, "corpus": {"hub": corpus}}) == [{"id": "a"}, corpus]
    assert hub_rows({"type": "sts", "path": "x"}) == []


def test_a_file_that_is_not_there_is_named(raw, tmp_path):
    with pytest.raises(DataError, match=r"none.jsonl: no such file"):
        store_task("x", {"type": "sts", "path": "none.jsonl"}, raw, tmp_path / "x", refuse)
