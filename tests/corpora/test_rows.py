"""From records as they are published to the fields a kind uses, and what is said before any work."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ruri_kedro.corpora.build import pair_parts
from ruri_kedro.corpora.fields import MISSING, top_level, unfold, value_at
from ruri_kedro.corpora.reading import drafts
from ruri_kedro.corpora.rows import check_sources, read_source
from ruri_kedro.corpora.source import parse_sources, select_sources
from ruri_kedro.errors import DataError, RecipeError

EDIT = {"kind": "edit", "path": "rows.jsonl"}


def write(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path.parent


def read(root, **row) -> list[dict]:
    source = parse_sources({"s": row})["s"]
    return [found for place in source.inputs for found in read_source(source, root, place)]


def positives(root, **row) -> list[str]:
    """Texts of the positives that the source's filter keeps."""
    return [draft.positive.text for _, draft in drafts(parse_sources({"s": row})["s"], root)]


def test_values_stand_at_paths():
    row = {"a": 1, "b": {"c": None}, "d": [{"e": "x"}, {"e": "y"}], "f": ["p", "q"]}
    assert value_at(row, "a") == 1
    assert value_at(row, "b.c") is None and value_at(row, "b.c.deeper") is None
    assert value_at(row, "d[].e") == ["x", "y"] and value_at(row, "f[]") == ["p", "q"]
    assert value_at(row, "b.x") is MISSING and value_at(row, "d[].x") is MISSING and value_at(row, "x") is MISSING
    assert top_level(["b.c", "d[].e", "f[]", "a"]) >= {"a", "b", "b.c", "d", "f"}


def test_lists_are_unfolded_from_the_outside():
    row = {"site": "s", "pages": [{"t": 1, "qs": [{"q": 1}, {"q": 2}]}, {"t": 2, "qs": None}, {"t": 3, "qs": []}]}
    assert list(unfold(row, ["pages", "pages.qs"])) == [
        {"site": "s", "pages": {"t": 1, "qs": {"q": 1}}},
        {"site": "s", "pages": {"t": 1, "qs": {"q": 2}}},
    ]
    assert row["pages"][0]["t"] == 1


def test_fields_are_found_below_other_names_and_answers_may_be_one_or_none(tmp_path):
    root = write(
        tmp_path / "rows.jsonl",
        {"q": {"ja": "山は?"}, "a": [{"text": "北"}, {"text": None}], "text": "北の山", "title": None},
        {"q": {"ja": "川は?"}, "a": None, "text": "南の川", "title": "川"},
    )
    fields = {"question": "q.ja", "answers": "a[].text"}
    rows = read(root, kind="question_to_passage", path="rows.jsonl", fields=fields)
    assert [(row["question"], row["answers"], row["title"]) for row in rows] == [
        ("山は?", ["北"], ""),
        ("川は?", [], "川"),
    ]
    none = read(root, kind="question_to_passage", path="rows.jsonl", fields={"question": "q.ja", "answers": None})
    assert [row["answers"] for row in none] == [[], []]


def test_rows_are_chosen_by_values_and_patterns(tmp_path):
    rows = [
        {"text1": f"文{i}", "text2": f"句{i}", "split": split, "ok": ok, "from": source}
        for i, (split, ok, source) in enumerate(
            [
                ("dev", True, "会誌"),
                ("unused", True, "自然言語処理 30巻"),
                ("test", True, "会誌"),
                ("dev", False, "会誌"),
                ("unused", True, "予稿"),
            ]
        )
    ]
    root = write(tmp_path / "rows.jsonl", *rows)
    chosen = {"where": {"split": ["dev", "unused"], "ok": True}, "exclude": {"from": "自然言語処理"}}
    assert [row["text1"] for row in read(root, **EDIT, **chosen)] == ["文0", "文4"]
    with pytest.raises(DataError, match="row 1, field 'ok': bool given, int or float or null expected"):
        read(root, **EDIT, where={"ok": 1})
    with pytest.raises(DataError, match=r"rows.jsonl: no row has '自然言語学' in 'from'\. Look at its values"):
        read(root, **EDIT, exclude={"from": "自然言語学"})
    with pytest.raises(DataError, match=r"row 1, field 'journal': missing. The row has: from, ok, split, text1, text2"):
        read(root, **EDIT, exclude={"journal": "自然"})


def test_the_lowest_share_is_dropped(tmp_path):
    root = write(tmp_path / "rows.jsonl", *({"text1": f"{i}", "text2": "x", "h": i / 10} for i in (5, 1, 9, 3, 7)))
    assert [row["text1"] for row in read(root, **EDIT, drop_lowest={"h": 0.2})] == ["5", "9", "3", "7"]
    with pytest.raises(DataError, match="row 1, field 'h2': missing"):
        read(root, **EDIT, drop_lowest={"h2": 0.2})


def test_words_are_put_together(tmp_path):
    root = write(tmp_path / "rows.jsonl", {"text1": "犬 が 走る 。", "text2": "A B が いる 。"})
    assert read(root, **EDIT, segmented=True) == [{"text1": "犬が走る。", "text2": "A Bがいる。"}]


def test_paragraphs_are_joined_within_their_section(tmp_path):
    sections = [("山", "北"), ("山", "北"), ("山", "北"), ("山", "南"), ("川", "南"), ("川", "南")]
    rows = [{"title": title, "section": s, "text": f"段{i}"} for i, (title, s) in enumerate(sections)]
    root = write(tmp_path / "rows.jsonl", *rows)
    found = read(root, kind="title_to_text", path="rows.jsonl", paragraphs=2)
    assert [row["text"] for row in found] == ["段0\n段1", "段2", "段3", "段4\n段5"]


def test_a_filter_drops_positives_and_what_is_blank(tmp_path):
    texts = ["これは日本語の文章である。", None, "", "short", "This is an English sentence.", "無断転載を禁じます。"]
    root = write(tmp_path / "rows.jsonl", *({"title": f"題{i}", "text": text} for i, text in enumerate(texts)))
    row = {"kind": "title_to_text", "path": "rows.jsonl"}
    assert positives(root, **row, filter={"language": "ja", "min_chars": 6}) == [texts[0], texts[5]]
    assert positives(root, **row, filter={"min_chars": 6, "boilerplate": False}) == [texts[0], texts[4]]
    with pytest.raises(DataError, match="row 2, field 'text': NoneType given, str expected"):
        read(root, **row)


def test_only_names_sources_and_keeps_their_order():
    sources = parse_sources(dict.fromkeys(("mqa", "jrc", "nli"), EDIT))
    assert list(select_sources(sources, "jrc, mqa")) == ["mqa", "jrc"]
    assert list(select_sources(sources, None)) == list(select_sources(sources, "")) == ["mqa", "jrc", "nli"]
    with pytest.raises(RecipeError, match=r"only: 'jcr' is unknown\. Allowed: jrc, mqa, nli"):
        select_sources(sources, "mqa jcr")


def test_everything_that_is_wrong_is_said_at_once_before_any_work(tmp_path):
    root = write(tmp_path / "rows.jsonl", {"text1": "甲", "text2": "乙"})
    write(tmp_path / "changed.jsonl", {"before": "甲", "after": "乙"})
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    sources = parse_sources(
        {
            "good": EDIT,
            "gone": {**EDIT, "path": "gone.jsonl"},
            "changed": {**EDIT, "path": "changed.jsonl"},
            "empty": {**EDIT, "path": "empty.jsonl"},
            "broken": {**EDIT, "path": "broken.parquet"},
            "floating": {"kind": "edit", "hub": {"id": "someone/edits"}},
        }
    )
    with pytest.raises(DataError) as error:
        check_sources(sources, root)
    first, *lines = str(error.value).split("\n")
    assert first == "5 of 6 sources cannot be read."
    assert [line.split(":")[0] for line in lines] == ["  gone", "  changed", "  empty", "  broken", "  floating"]
    assert "gone.jsonl: no such file or folder" in lines[0]
    assert "row 1, field 'text1': missing. The row has: after, before." in lines[1]
    assert "there is no row" in lines[2] and "no Parquet file" in lines[3]
    assert "has no revision" in lines[4] and "https://huggingface.co/datasets/someone/edits/commits/main" in lines[4]


def test_a_source_says_where_its_rows_are_and_what_they_need():
    bad = [
        ({"kind": "edit"}, "sources.s.path: missing, and there is no hub either"),
        ({"kind": "edit", "hub": {"revision": "x"}}, "sources.s.hub.id: missing"),
        ({"kind": "edit", "hub": {"id": "x"}, "shape": "cirrus"}, "sources.s.shape: cirrus is a shape of files"),
        (
            {"kind": "edit", "hub": {"id": "x", "version": 1}},
            "sources.s.hub.version: there is no such parameter",
        ),
        ({**EDIT, "fields": {"text1": None}}, "sources.s.fields.text1: null, but the kind edit needs it"),
        ({**EDIT, "paragraphs": 3}, "sources.s.paragraphs: the kind edit has no sections"),
        ({**EDIT, "exclude": {"text1": "("}}, r"sources.s.exclude.text1: '\(' is not a regular expression"),
        ({**EDIT, "drop_lowest": {"h": 1.5}}, "sources.s.drop_lowest.h: 1.5 is given, expected is less than 1"),
        (
            {**EDIT, "filter": {"language": "fr"}},
            "sources.s.filter.language: .*fr.* is given, expected is 'ja', 'en'",
        ),
    ]
    for row, message in bad:
        with pytest.raises(RecipeError, match=message):
            parse_sources({"s": row})


def test_another_revision_or_filter_is_another_part(tmp_path):
    write(tmp_path / "rows.jsonl", {"text1": "甲", "text2": "乙"})
    first = {**EDIT, "licence": "CC0"}
    keys = [
        pair_parts(parse_sources({"s": row}), tmp_path)["s"].key
        for row in (first, {**first, "licence": "MIT"}, {**first, "filter": {"min_chars": 1}})
    ]
    assert keys[0] == keys[1] != keys[2]
    hub = {"kind": "edit", "hub": {"id": "a/b", "revision": "c0"}}
    pinned = [
        pair_parts(parse_sources({"s": {**hub, "hub": {**hub["hub"], "revision": revision}}}), tmp_path)["s"].key
        for revision in ("c0", "c0", "c1")
    ]
    assert pinned[0] == pinned[1] != pinned[2]


def test_parquet_columns_that_nobody_asks_for_are_not_read(tmp_path, monkeypatch):
    table = pa.table({"text1": ["甲"], "text2": ["乙"], "wikitext": ["x" * 100]})
    pq.write_table(table, tmp_path / "rows.parquet")
    asked = []
    whole = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda self, **k: asked.append(k["columns"]) or whole(self, **k)
    )
    assert read(tmp_path, kind="edit", path="rows.parquet") == [{"text1": "甲", "text2": "乙"}]
    assert asked == [["text1", "text2"]]
