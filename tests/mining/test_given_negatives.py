"""Negatives that come with a pair: known positives, the anchor and blank texts are none of them."""

import csv
import json

import numpy as np
import pytest

from ruri_kedro.corpora.build import pair_parts, passage_parts
from ruri_kedro.corpora.rows import check_sources
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError
from ruri_kedro.pipelines.negative_mining import nodes
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.tables.lookup import passage_texts

MINING = {"shard_rows": 3, "depth": 5, "window": {"first": 1, "last": 5}, "mine_window": {"first": 1, "last": 5},
          "max_mined": 2, "min_answer_chars": 2, "fill": False, "negatives": 2}  # fmt: skip
SOURCES = {
    "s": {"kind": "pair", "path": "p.jsonl", "validation": "v.jsonl", "stages": {"finetuning": {"negatives": "given"}}}
}
ROWS = [
    ("日本一高い山", "富士山です。", ["富士山です", "北岳です。"]),  # the positive, but for a full stop
    ("日本一長い川", "信濃川です。", ["日本一長い川", "利根川です。"]),  # the anchor
    ("東京の塔", "東京塔です。", ["電波塔です。"]),  # another known positive of the question
    ("東京の塔", "電波塔です。", ["東京塔です。", "通天閣です。", "通天閣です", "名古屋の塔です。", "神戸の塔です。"]),
    ("日本一広い湖", "琵琶湖です。", ["諏訪湖です。", "霞ケ浦です。"]),  # the first is held out
    ("日本一深い湖", "田沢湖です。", ["支笏湖です。", "十和田湖です。", "摩周湖です。"]),
]
WANTED = [
    ["北岳です。"],
    ["利根川です。"],
    [],
    ["通天閣です。", "名古屋の塔です。"],
    ["霞ケ浦です。"],
    ["支笏湖です。", "十和田湖です。"],
]


def tables(tmp_path, sources=SOURCES):
    parsed = parse_sources(sources)
    check_sources(parsed, tmp_path)
    made = {"passages": passage_parts(parsed, tmp_path), "pairs": pair_parts(parsed, tmp_path)}
    made |= {"leaks": {"s": Part("k", list)}, "matches": {"s": Part("k", list)}, "candidates": {}}
    return {name: write_table(tmp_path / "out" / name, SCHEMAS[name], parts) for name, parts in made.items()}


def write(path, rows):
    given = [{"anchor": anchor, "positive": positive, "negatives": negatives} for anchor, positive, negatives in rows]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in given), "utf-8")


def test_what_is_a_known_positive_is_no_negative_and_is_counted(tmp_path, caplog):
    write(tmp_path / "p.jsonl", ROWS)
    write(tmp_path / "v.jsonl", [("きれいな湖", "諏訪湖です。", ["霞ケ浦です。", "琵琶湖です。"])])
    passages, pairs, leaks, matches, candidates = tables(tmp_path).values()
    parts = nodes.choose_examples(passages, pairs, leaks, matches, candidates, SOURCES, MINING, 1, stage="finetuning")
    examples = write_table(tmp_path / "examples", SCHEMAS["examples"], parts)
    texts = passage_texts(passages)
    found = {(texts[row["anchor"]], texts[row["positive"]]): [texts[docid] for docid in row["negatives"]]
             for row in examples.iter_rows()}  # fmt: skip
    assert [found[row[:2]] for row in ROWS] == WANTED
    assert found["きれいな湖", "諏訪湖です。"] == ["霞ケ浦です。", "琵琶湖です。"], (
        "validation may know what is held out"
    )
    with caplog.at_level("INFO"):
        figures, page = nodes.report_negatives(
            passages, pairs, matches, candidates, SOURCES, MINING, finetuning=examples
        )
    # One each of the first three rows and the fifth; of the fourth the other positive and a text once more.
    assert figures["left_out"].tolist() == [6] and "left out" in page
    assert "finetuning, s: 6 given negatives are left out" in caplog.text


@pytest.mark.parametrize("blank", ["", " \u3000", "\u200b"])
def test_a_blank_negative_is_an_error_that_names_the_row(tmp_path, blank):
    write(tmp_path / "p.jsonl", [("問", "答", ["負"]), ("問2", "答2", ["負", blank])])
    write(tmp_path / "v.jsonl", [("問3", "答3", [])])
    with pytest.raises(DataError, match=r"p.jsonl, row 2, field 'negatives': empty text"):
        tables(tmp_path)


def test_with_a_filter_a_blank_negative_is_dropped_and_an_empty_cell_is_none(tmp_path):
    with (tmp_path / "p.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["anchor", "positive", "negatives"], ["問", "答です", ""], ["問2", "答です2", "負です"]]
        )
    write(tmp_path / "f.jsonl", [("問", "答です", ["", "負です"])])
    for source in ({"path": "p.csv"}, {"path": "f.jsonl", "filter": {"min_chars": 1}}):
        made = tables(tmp_path / "", {"s": {"kind": "pair", **source}})
        texts = passage_texts(made["passages"])
        assert {texts[docid] for row in made["pairs"].iter_rows() for docid in row["given_negatives"]} == {"負です"}


def test_a_mined_pair_that_a_test_knows_is_not_mined(tmp_path):
    """A short query counts together with its positive; the given pair of the two is left out as a leak already."""
    texts = {"q": "富士", "a": "富士山は日本一高い山である。", "b": "富士山の高さは三千メートルを超える。"}
    passages = [
        {"docid": name, "source": "s", "title": "", "section": "", "text": text} for name, text in texts.items()
    ]
    pair = {"pair_id": "p", "query_id": "i", "source": "s", "split": "train", "anchor": "q", "positive": "",
            "given_negatives": [], "answers": ["富士山"], "origin": "given"}  # fmt: skip
    row = {"query_id": "i", "source": "s", "collection": "s", "docids": ["a", "b"], "bm25_ranks": np.array([1, 2]),
           "bm25_scores": np.array([2.0, 1.0]), "dense_ranks": np.array([0, 0]), "dense_scores": np.array([], "f4"),
           "positives": [], "positive_scores": np.array([], "f4")}  # fmt: skip
    match = {"test": "t", "item_id": "1", "overlap": 1.0}
    known = [match | {"docid": "q", "role": "query", "kind": "short"}, match | {"docid": "a", "role": "positive",
             "kind": "exact"}]  # fmt: skip
    rows = {"passages": passages, "pairs": [pair], "leaks": [], "candidates": [row]}
    for matches, mined in ((known, ["b"]), ([], ["a", "b"])):
        made = {
            name: write_table(tmp_path / name, SCHEMAS[name], {"s": Part(str(mined), lambda given=given: [given])})
            for name, given in (rows | {"matches": matches}).items()
        }
        sources = {"s": {"kind": "question", "path": "x"}}
        parts = nodes.mine_positives(
            made["passages"], made["pairs"], made["leaks"], made["matches"], made["candidates"], sources, MINING, 1
        )
        found = write_table(tmp_path / "mined", SCHEMAS["pairs"], parts)
        assert [row["positive"] for row in found.iter_rows()] == mined


def test_why_a_source_gives_no_example_is_counted_by_rule(tmp_path, caplog):
    write(tmp_path / "p.jsonl", ROWS)
    write(tmp_path / "v.jsonl", [("きれいな湖", "諏訪湖です。", ["霞ケ浦です。"])])
    sources = {"s": SOURCES["s"] | {"stages": {"finetuning": {"negatives": "given", "share": 0.0}}}}
    passages, pairs, _, matches, candidates = tables(tmp_path, sources).values()
    ids = [row["pair_id"] for row in pairs.iter_rows() if row["split"] == "train"]
    leak = dict.fromkeys(("part", "docid", "test", "role", "item_id", "kind"), "") | {"overlap": 1.0, "removed": True}
    given = {"leaks": [leak | {"pair_id": row} for row in ids[:2]], "inconsistent": [{"pair_id": ids[2], "rank": 9}]}
    found = {
        name: write_table(tmp_path / name, SCHEMAS[name], {"s": Part("k", lambda rows=rows: [rows])})
        for name, rows in given.items()
    }
    parts = nodes.choose_examples(
        passages, pairs, found["leaks"], matches, candidates, sources, MINING, 1, None, found["inconsistent"],
        stage="finetuning",
    )  # fmt: skip
    examples = write_table(tmp_path / "examples", SCHEMAS["examples"], parts)
    assert examples.rows() == 0
    assert (
        "finetuning, s (contrastive): no example to train on. Of 7 pairs 3 are not among the share of 0.0; 2 are known "
        "to a test (leaks.md); 1 are not consistent (consistency); 1 are held out for validation." in caplog.text
    )
