"""A run limited to some sources, and questions whose positives are still to be mined."""

import json

import pytest
from whole_source import candidates_by, whole_source

from ruri_kedro.corpora.duplicates import families
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.datasets import TableDataset
from ruri_kedro.errors import DataError
from ruri_kedro.mining.examples import StageRecipe, make_examples, mine_pairs
from ruri_kedro.mining.negatives import ChoiceRules, Window
from ruri_kedro.pipelines.data_engineering.nodes import build_pairs, build_passages, check_leaks, find_near_duplicates
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.tables.lookup import passage_texts

SOURCES = {
    "edits": {"kind": "edit", "path": "edits.jsonl"},
    "quiz": {"kind": "question", "path": "quiz.jsonl", "collection": "wiki"},
    "wiki": {"kind": "collection", "path": "wiki.jsonl"},
}
ROWS = {
    "edits": [{"text1": "古い文", "text2": "新しい文"}],
    "quiz": [{"question": "北の山は何か?", "answers": ["白山"]}, {"question": "答えのない問い", "answers": []}],
    "wiki": [
        {"title": f"題{i}", "text": text} for i, text in enumerate(["白山は北にある。", "川は南にある。", "海。"])
    ],
}

KEEP_ALL = {"threshold": None, "min_chars": 1, "ngram": 2, "bands": 1, "rows": 1, "across": True, "memory_mb": 1,
            "scratch": "unused"}  # fmt: skip


@pytest.fixture
def raw(tmp_path):
    for name, rows in ROWS.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def run(raw, only=None):
    made = {name: TableDataset(filepath=str(raw / "out" / name), schema=name) for name in ("passages", "pairs")}
    left = write_table(raw / "left", SCHEMAS["duplicates"], find_near_duplicates(raw, SOURCES, KEEP_ALL, only))
    made["passages"].save(build_passages(raw, SOURCES, left, only))
    made["pairs"].save(build_pairs(raw, SOURCES, left, only))
    return made["passages"].load(), made["pairs"].load()


def test_only_builds_what_it_names_and_leaves_the_rest(raw):
    passages, pairs = run(raw, "edits")
    assert passages.parts() == pairs.parts() == ["edits"]
    passages, pairs = run(raw)
    assert passages.parts() == ["edits", "quiz", "wiki"] and pairs.parts() == ["edits", "quiz"]
    before = passages.digest(["wiki", "quiz"])
    (raw / "edits.jsonl").write_text('{"text1": "甲", "text2": "乙"}\n')
    (raw / "wiki.jsonl").unlink()
    passages, _ = run(raw, "edits, quiz")
    assert passages.digest(["wiki", "quiz"]) == before
    assert sorted(passage_texts(passages, parts=["edits"]).values()) == ["乙", "甲"]


def test_a_source_that_cannot_be_read_stops_the_run_before_a_table_is_written(raw):
    (raw / "wiki.jsonl").unlink()
    with pytest.raises(DataError, match="1 of 3 sources cannot be read"):
        run(raw)
    assert not (raw / "out").exists()


def test_a_question_without_a_passage_is_mined_one_by_its_answer(raw):
    passages, pairs = run(raw)
    matches = write_table(raw / "matches", SCHEMAS["matches"], {"quiz": Part("k", list), "edits": Part("k", list)})
    assert list(check_leaks(pairs, matches)["quiz"].rows()) == []
    (row,) = pairs.iter_rows(["quiz"])
    assert row["positive"] == "" and row["answers"] == ["白山"]
    found = [doc["docid"] for doc in passages.iter_rows(["wiki"])]
    texts = passage_texts(passages, parts=["quiz", "wiki"])
    candidates = candidates_by(found, bm25=[1, 2, 3])
    known = whole_source("quiz", [row], texts, {row["query_id"]: candidates})
    rules = ChoiceRules(Window(2, 3), 2, True, Window(1, 3), 1, 2)
    (mined,) = mine_pairs(known, rules, 1)
    assert texts[mined["positive"]] == "題0 白山は北にある。" and mined["origin"] == "mined"
    recipe = StageRecipe("finetuning", "distillation", "rrf", rules, False, 1.0, True)
    (example,) = make_examples(whole_source("quiz", [row, mined], texts, known.candidates), recipe, 1)
    assert example["positive"] == mined["positive"] and set(example["negatives"]) == set(found[1:])


def test_near_duplicates_are_found_beside_questions_and_data_sets_of_the_hub(raw):
    rules = KEEP_ALL | {"threshold": 0.5, "scratch": str(raw / "scratch"), "bands": 4}
    again = {**SOURCES, "wiki2": {"kind": "collection", "path": "wiki2.jsonl"}}
    (raw / "wiki2.jsonl").write_text((raw / "wiki.jsonl").read_text("utf-8"), encoding="utf-8")
    left = [row for block in find_near_duplicates(raw, again, rules)["all"].rows() for row in block]
    assert {(row["source"], row["kept_source"]) for row in left} == {("wiki2", "wiki")} and len(left) == 3


def test_sources_of_one_data_set_are_one_family():
    rows = {name: {"kind": "edit", "hub": {"id": hub}} for name, hub in (("a", "x/y"), ("b", "x/y"), ("c", "x/z"))}
    family = families(parse_sources(rows))
    assert family["a"] == family["b"] != family["c"]
