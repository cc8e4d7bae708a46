"""Sources read in shards: the rows are those of one pass, wherever a source is cut and a run is killed."""

import json

import pytest

from ruri_kedro.corpora import build, reading
from ruri_kedro.corpora.build import pair_parts, passage_parts
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError
from ruri_kedro.tables import SCHEMAS, write_table

SOURCES = parse_sources(
    {
        "paragraphs": {
            "kind": "title_to_text",
            "path": "folder",
            "validation": "other.jsonl",
            "fields": {"title": "t"},
        },
        "joined": {
            "kind": "collection",
            "path": "folder",
            "fields": {"title": "t"},
            "paragraphs": 2,
            "exclude": {"text": "文36"},
            "drop_lowest": {"number": 0.1},
            "filter": {"min_chars": 5},
        },
        "quiz": {
            "kind": "question",
            "path": "quiz.jsonl",
            "unfold": ["asked"],
            "fields": {"question": "asked.q", "answers": "asked.a[].text"},
            "held_out": 0.3,
            "collection": "joined",
        },
        "inference": {"kind": "premise_to_hypothesis", "path": "nli.jsonl"},
    }
)


@pytest.fixture
def raw(tmp_path):
    """Files of paragraphs, one of them for validation, with texts that recur near and far; questions; inferences."""
    rows = [{"t": f"題{n // 3}", "text": f"文{n % 37}。" + "山" * (n % 11), "number": n} for n in range(120)]
    quiz = [{"asked": [{"q": f"問{n % 50 + k}", "a": [{"text": f"答{n}"}]} for k in range(3)]} for n in range(60)]
    nli = [{"premise": f"前{n % 5}", "hypothesis": f"後{n}", "label": "entailment"} for n in range(20)]
    root = tmp_path / "raw"
    (root / "folder").mkdir(parents=True)
    files = {"folder/a": rows[:70], "folder/b": rows[70:100], "other": rows[100:], "quiz": quiz, "nli": nli}
    for name, part in files.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in part)
        (root / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    return root


def write_both(root, raw):
    return [
        write_table(root / name, SCHEMAS[name], parts(SOURCES, raw))
        for name, parts in (("passages", passage_parts), ("pairs", pair_parts))
    ]


@pytest.mark.parametrize("chars", [1, 200, 700])
def test_a_source_cut_into_shards_has_the_same_rows(tmp_path, raw, monkeypatch, chars):
    whole = write_both(tmp_path / "whole", raw)
    monkeypatch.setattr(reading, "SHARD_CHARS", chars)
    cut = write_both(tmp_path / "cut", raw)
    for one, many in zip(whole, cut, strict=True):
        assert list(one.iter_rows()) == list(many.iter_rows())
        for name in set(one.parts()) - {"inference"}:
            assert len(one.shards(name)) == 1 < len(many.shards(name))
        assert len(many.shards("inference")) == 1


def test_a_killed_part_is_continued_behind_its_last_shard(tmp_path, raw, monkeypatch):
    monkeypatch.setattr(reading, "SHARD_CHARS", 200)
    expected, _ = write_both(tmp_path / "expected", raw)
    made = []
    original = reading.shard_drafts

    def fails(source, root, shard, removed=None):
        made.append(shard)
        if len(made) == 4:
            raise RuntimeError("power cut")
        return original(source, root, shard, removed)

    monkeypatch.setattr(build, "shard_drafts", fails)
    parts = {"paragraphs": passage_parts(SOURCES, raw)["paragraphs"]}
    with pytest.raises(RuntimeError, match="power cut"):
        write_table(tmp_path / "cut", SCHEMAS["passages"], parts)
    assert not (tmp_path / "cut/paragraphs").exists()
    shards = write_table(tmp_path / "cut", SCHEMAS["passages"], parts).shards("paragraphs")
    assert len(made) == len(shards) + 1, "the shard that failed is made twice, no other one"
    assert [path.read_bytes() for path in shards] == [path.read_bytes() for path in expected.shards("paragraphs")]
    assert sorted(path.name for path in tmp_path.joinpath("cut").iterdir()) == ["paragraphs"]


def test_a_wrong_row_of_a_later_shard_is_named(tmp_path, raw, monkeypatch):
    monkeypatch.setattr(reading, "SHARD_CHARS", 100)
    with (raw / "folder/b.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"t": "題"}\n')
    with pytest.raises(DataError, match=r"b.jsonl, row 31, field 'text': missing"):
        write_both(tmp_path / "cut", raw)
