"""Tasks whose data are on the hub: what is missing is said before anything is read, all at once."""

import gzip
import json

import pytest
from kedro_project import REPOSITORY

from ruri_kedro.benchmark.mteb.hub_tasks import fetch_rows
from ruri_kedro.corpora import hub
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.pipelines.data_engineering import nodes

FIXTURES = REPOSITORY / "tests/fixtures/sources/castorini"
REMOTE = {"id": "owner/pairs", "revision": "0" * 40}
TASKS = {
    "local": {"type": "sts", "path": "sts.jsonl"},
    "gone": {"type": "sts", "path": "none.jsonl"},
    "unpinned": {"type": "reranking", "shape": "pairs", "hub": {"id": "owner/pairs"}},
    "remote": {"type": "reranking", "shape": "grades", "path": "sts.jsonl", "corpus": {"hub": REMOTE}},
}


@pytest.fixture
def raw(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    rows = [{"text1": "犬", "text2": "猫", "score": 1}, {"text1": "山", "text2": "川", "score": 2}]
    (tmp_path / "sts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return tmp_path


def test_without_the_hub_every_task_without_data_is_listed(raw):
    builds = nodes.read_tasks(raw, TASKS)
    with pytest.raises(DataError) as refused:
        builds["remote"](raw / "sets/remote")
    said = str(refused.value)
    assert "the data of 3 of 4 tasks cannot be had" in said and "Can run: local." in said
    for text in (
        "gone: ",
        "none.jsonl: no such file",
        "unpinned: hub data set 'owner/pairs' has no revision",
        "remote: ",
    ):
        assert text in said
    assert not (raw / "sets").exists()


def test_a_task_of_files_asks_no_hub(raw, monkeypatch):
    monkeypatch.setattr(hub, "check_hubs", lambda hubs: pytest.fail("the hub was asked"))
    nodes.read_tasks(raw, TASKS)["local"](raw / "sets/local")
    assert (raw / "sets/local/manifest.json").is_file()


def test_files_of_a_data_set_become_rows(tmp_path):
    """From a copy of Mr. TyDi's form; the copy stands for the hub."""
    row = {"id": str(FIXTURES / "mr-tydi"), "path": "mrtydi-v1.1-japanese/*.jsonl.gz"}
    fetch_rows(row, tmp_path / "rows.jsonl.gz")
    with gzip.open(FIXTURES / "mr-tydi/mrtydi-v1.1-japanese/train.jsonl.gz", "rt", encoding="utf-8") as handle:
        expected = [json.loads(line) for line in handle]
    with gzip.open(tmp_path / "rows.jsonl.gz", "rt", encoding="utf-8") as handle:
        assert [json.loads(line) for line in handle] == expected


def test_an_unknown_key_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"tasks\.\*\.hub\.commit: there is no such parameter"):
        fetch_rows({"id": "a/b", "commit": "1"}, tmp_path / "x")
