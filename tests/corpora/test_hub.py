"""Data sets of the hub, on folders of their form and on a hub that answers as the real one does."""

import gzip
import json
import re

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from huggingface_hub import errors as hub_errors

from ruri_kedro.corpora import hub as hubs
from ruri_kedro.corpora.build import pair_parts
from ruri_kedro.corpora.hub import Hub, HubFile, check_hubs, hub_files, hub_records
from ruri_kedro.corpora.rows import read_source
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables.formats import read_records

ROWS = [{"premise": f"前{i}", "hypothesis": f"後{i}", "label": i % 3, "score": i / 2} for i in range(5)]
PINNED = Hub("someone/pairs", "c0ffee" + "0" * 34)


@pytest.fixture
def copy(tmp_path):
    """A folder as `hf download` leaves one: a card that names the files of each configuration and split."""
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: data/train-*}\n"
    card += "  - {split: dev, path: data/dev-*}\n- config_name: few\n  data_files: few/*.parquet\n---\n"
    (tmp_path / "README.md").write_text(card)
    (tmp_path / "data").mkdir()
    for name, rows in {"train-00000-of-00002": ROWS[:2], "train-00001-of-00002": ROWS[2:4], "dev-0": ROWS[4:]}.items():
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"data/{name}.parquet")
    (tmp_path / "few").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS[1:3]), tmp_path / "few/0000.parquet")
    return tmp_path


def test_splits_are_read_as_a_stream_with_the_wanted_columns_only(copy):
    wanted = {"premise", "label"}
    train = [{name: row[name] for name in wanted} for row in ROWS[:4]]
    assert [row for _, row in hub_records(Hub(str(copy)), "train", wanted)] == train
    both = list(hub_records(Hub(str(copy)), "train+dev", wanted))
    assert [number for number, _ in both] == [1, 2, 3, 4, 5] and both[4][1]["premise"] == "前4"
    named = hub_records(Hub(str(copy), name="few"), "train", wanted)
    assert [row["premise"] for _, row in named] == ["前1", "前2"]


def test_a_source_reads_a_hub_data_set_by_split_or_by_path(copy):
    row = {
        "kind": "premise_to_hypothesis",
        "hub": {"id": str(copy)},
        "labels": {0: "entailment", 2: "contradiction"},
        "validation": "dev",
    }
    by_split = parse_sources({"s": row})["s"]
    pairs = [pair for shard in pair_parts({"s": by_split}, copy)["s"].shards([]) for pair in shard.to_pylist()]
    assert [pair["split"] for pair in pairs] == ["train", "train"]
    by_path = parse_sources({"s": {**row, "path": "data/train-*.parquet", "validation": None}})["s"]
    found = [r["premise"] for r in read_source(by_path, copy, by_path.inputs[0])]
    assert found == ["前0", "前1", "前2", "前3"]


def test_several_data_sets_of_one_form_are_one_source(copy):
    hubs = [{"id": str(copy)}, {"id": str(copy), "split": "dev"}]
    source = parse_sources({"s": {"kind": "premise_to_hypothesis", "hub": hubs}})["s"]
    found = [row["premise"] for place in source.inputs for row in read_source(source, copy, place)]
    assert found == ["前0", "前1", "前2", "前3", "前4"]


def test_each_of_several_data_sets_has_its_own_files_and_rows(copy):
    hubs = [
        {"id": str(copy), "path": "few/*.parquet", "where": {"label": 1}},
        {"id": str(copy), "path": "data/train-*.parquet", "exclude": {"premise": "[123]"}},
        {"id": str(copy), "split": "dev"},
    ]
    source = parse_sources({"s": {"kind": "premise_to_hypothesis", "hub": hubs, "where": {"label": [0, 1]}}})["s"]
    assert len({*source.hub}) == 2, "one data set, whatever is asked of it"
    found = [row["premise"] for place in source.inputs for row in read_source(source, copy, place)]
    assert found == ["前1", "前0", "前4"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"exclude": {"premise": "["}}, r"sources.s.hub.exclude.premise: '\[' is not a regular expression"),
        ({"where": "label"}, r'sources.s.hub.where: "label" is given'),
        ({"paht": "x"}, r"sources.s.hub.paht: there is no such parameter. Did you mean path"),
    ],
)
def test_what_a_data_set_is_asked_for_is_checked(copy, own, message):
    with pytest.raises(RecipeError, match=message):
        parse_sources({"s": {"kind": "premise_to_hypothesis", "hub": {"id": str(copy), **own}}})


def test_a_missing_split_or_field_is_one_line(copy):
    with pytest.raises(DataError, match=r"hub data set .*: .*test"):
        list(hub_records(Hub(str(copy)), "test", {"premise"}))
    source = parse_sources({"s": {"kind": "edit", "hub": {"id": str(copy)}}})["s"]
    with pytest.raises(DataError, match=r" train, row 1, field 'text1': missing. The row has: nothing"):
        next(read_source(source, copy, source.inputs[0]))


@pytest.mark.parametrize("revision", [None, "main", "c0ffee"])
def test_a_name_without_a_commit_says_how_to_pin_it_and_nothing_is_asked(monkeypatch, revision):
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: pytest.fail("the hub was asked"))
    floating = Hub("a/b", revision)
    (problem,) = check_hubs([floating, floating]).values()
    assert isinstance(problem, RecipeError)
    said = r"(has no revision|revision '\w+' is no commit).*https://huggingface.co/datasets/a/b/commits/main"
    assert re.search(said, str(problem))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (hub_errors.GatedRepoError, "it is gated: accept its terms on https://huggingface.co/datasets/someone/pairs"),
        (hub_errors.RevisionNotFoundError, "there is no such revision: take one from .*/commits/main"),
        (hub_errors.RepositoryNotFoundError, "there is no such data set, or it is private"),
        (ConnectionError, r"the hub cannot be reached \(nothing there\). Check the network, or name a folder"),
        (ValueError, r"it cannot be read \(ValueError: nothing there\)"),
    ],
)
def test_each_refusal_of_the_hub_is_said_with_its_remedy(monkeypatch, error, message):
    def refuse(*_, **__):
        raise error.__new__(error, "nothing there")

    monkeypatch.setattr(HfApi, "dataset_info", refuse)
    found = check_hubs([PINNED])
    assert isinstance(found[PINNED], DataError)
    assert re.match(f"hub data set someone/pairs@c0ffee000000: {message}", str(found[PINNED]))


def test_a_hub_out_of_reach_is_said_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "the hub cannot be reached" in str(check_hubs([PINNED])[PINNED])


def test_each_data_set_is_asked_for_once_and_a_copy_not_at_all(monkeypatch, copy):
    asked = []
    monkeypatch.setattr(HfApi, "dataset_info", lambda _, id, **how: asked.append((id, how["revision"])))
    assert check_hubs([PINNED, Hub(str(copy)), PINNED]) == {}
    assert asked == [("someone/pairs", PINNED.revision)]


@pytest.fixture
def files(monkeypatch):
    """The files of PINNED, in memory, where the hub's file system would find them."""
    memory = fsspec.filesystem("memory")
    base = "/datasets/someone/pairs@c0ffee"
    monkeypatch.setattr(hubs, "_file_system", lambda: memory)
    monkeypatch.setattr(hubs, "_address", lambda hub: base)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
    memory.pipe(f"{base}/data/b.json.gz", gzip.compress(lines))
    memory.pipe(f"{base}/data/a.tsv", "id\ttext\n1\t山\n".encode())
    yield memory
    memory.rm("/datasets", recursive=True)


def test_files_of_the_hub_are_read_like_local_ones(files):
    found = hub_files(PINNED, "data/*")
    assert [str(file) for file in found] == [
        "someone/pairs@c0ffee000000/data/a.tsv",
        "someone/pairs@c0ffee000000/data/b.json.gz",
    ]
    assert [row for _, row in read_records(found[0])] == [{"id": "1", "text": "山"}]
    assert [row for _, row in read_records(found[1])] == ROWS
    with pytest.raises(DataError, match=r"no file fits 'x/\*': look at https://.*/tree/c0ffee"):
        hub_files(PINNED, "x/*")
    with pytest.raises(DataError, match=r"gone\.jsonl: no such file"):
        list(read_records(HubFile(PINNED, "gone.jsonl")))
