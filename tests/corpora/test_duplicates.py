"""Near duplicates: what a search of all pairs leaves out, whatever the memory."""

import gzip
import json
import random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from leak_rules import PARAMETERS
from stopped_search import full_disk, stopped

from ruri_kedro.corpora import reading
from ruri_kedro.corpora.build import duplicate_parts, pair_parts, passage_parts
from ruri_kedro.corpora.duplicates import DuplicateRules, families, find_duplicates
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import SCHEMAS, write_table
from ruri_kedro.text.hashing import stable_id
from ruri_kedro.text.normalize import match_key
from ruri_kedro.text.overlap import MinHash, jaccard

SHIPPED = yaml.safe_load(PARAMETERS.read_text("utf-8"))["deduplication"]
# Bands of one row miss a pair at 0.5 once in 2^24.
EVERY_PAIR = {"threshold": 0.5, "min_chars": 4, "ngram": 2, "bands": 24, "rows": 1, "across": True, "memory_mb": 64}


def find(sources, folder, family=None, **change):
    """(docid, kept) of what goes of the (docid, text) by source."""
    rules = parse(DuplicateRules, {**EVERY_PAIR, **change, "scratch": str(folder)}, "deduplication")
    family = family or {name: number for number, name in enumerate(sources)}
    return [
        (row["docid"], row["kept"])
        for row in find_duplicates({name: [texts] for name, texts in sources.items()}, family, rules, "k")
    ]


def named(*texts, start=0):
    """Texts with an id each."""
    return [(stable_id(str(number), text), text) for number, text in enumerate(texts, start)]


def plain(sources, threshold, min_chars, ngram, may_compare):
    """What a search of all pairs leaves out: a text that is near an earlier one that stays."""
    kept, gone = [], []
    for source, texts in sources.items():
        for docid, text in texts:
            if len(text) < min_chars or any(docid == known for _, known, _ in kept):
                continue
            near = [
                known
                for other, known, key in kept
                if may_compare(source, other) and jaccard(match_key(text), key, ngram) >= threshold
            ]
            if near:
                gone.append((docid, near[0]))
            else:
                kept.append((source, docid, match_key(text)))
    return gone


texts = st.lists(st.text("あいう。", max_size=9), max_size=8)


@settings(deadline=None, max_examples=50)
@given(texts, texts, texts, st.booleans())
def test_what_goes_is_what_a_search_of_all_pairs_finds(tmp_path_factory, first, second, third, across):
    sources = {"a": named(*first), "b": named(*second, start=10), "c": [(stable_id("c", text), text) for text in third]}
    family = {"a": 0, "b": 1, "c": 0}
    expected = plain(sources, 0.5, 4, 2, lambda one, other: one == other or (across and {one, other} != {"a", "c"}))
    scratch = tmp_path_factory.mktemp("scratch")
    found = find(sources, scratch, family, across=across)
    assert list(dict.fromkeys(found)) == list(dict.fromkeys(expected))
    assert not list(scratch.iterdir())


def corpus(count, seed=0):
    """Random texts of 60 to 200 characters, a third of which are an earlier one with one character changed."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        if number % 3 == 2:
            text = draw.choice(made)
            place = draw.randrange(len(text))
            made.append(text[:place] + "変" + text[place + 1 :])
        else:
            made.append("".join(chr(draw.randrange(0x4E00, 0x5E00)) for _ in range(draw.randrange(60, 200))))
    return made


def test_the_shipped_bands_find_near_duplicates_in_any_memory(tmp_path, monkeypatch):
    rules = SHIPPED | {"threshold": 0.8}
    sources = {"a": named(*corpus(150)), "b": named(*corpus(90, seed=1), *corpus(30), start=1000)}
    expected = plain(sources, 0.8, 50, 5, lambda one, other: True)
    found = find(sources, tmp_path, **rules)
    assert set(found) <= set(expected)
    assert len(found) >= 0.99 * len(expected) > 90
    monkeypatch.setattr("ruri_kedro.corpora.duplicates._ROW_BYTES", 1 << 15)  # memory for 32 rows
    monkeypatch.setattr("ruri_kedro.corpora.duplicates._READ_VALUES", 50)
    assert find(sources, tmp_path, **rules | {"memory_mb": 1}) == found


def test_many_copies_of_a_text_go_for_the_first(tmp_path):
    text = corpus(1)[0]
    ids = named(*[text] * 200)
    assert find({"a": ids}, tmp_path) == [(docid, ids[0][0]) for docid, _ in ids[1:]]


def test_no_text_goes_for_one_that_went(tmp_path):
    steps = [text[: 8 - shift] + text[8 - shift :][::-1] for text in ["あいうえおかきくけこ"] for shift in (0, 2, 4, 6)]
    ids = named(*steps)
    assert find({"a": ids}, tmp_path) == plain({"a": ids}, 0.5, 4, 2, lambda one, other: True)
    (first, _), (second, _), (third, _), *_ = ids
    assert (second, first) in find({"a": ids[:3]}, tmp_path) and (third, second) not in find({"a": ids[:3]}, tmp_path)


def test_a_text_that_comes_again_is_no_duplicate_of_itself(tmp_path):
    one, two = named("青葉城は山城である。", "若葉川は大河である。")
    assert find({"a": [one, one, two, one]}, tmp_path) == []


def test_nothing_is_read_where_no_threshold_is_given(tmp_path):
    def never():
        raise AssertionError("read")
        yield

    assert find({"a": never()}, tmp_path / "scratch", threshold=None) == []
    assert not (tmp_path / "scratch").exists()
    (tmp_path / ".duplicates-of_another_search").mkdir()
    assert find({"a": never()}, tmp_path, threshold=None) == [] == list(tmp_path.iterdir())


def test_sources_that_hold_the_same_texts_on_purpose_are_one_family():
    kinds = {"kind": "question_to_passage"}
    sources = parse_sources(
        {
            "wiki": {"kind": "collection", "path": "wiki.jsonl"},
            "titles": {"kind": "title_to_text", "path": "wiki.jsonl"},
            "news": {"kind": "title_to_text", "path": "news.jsonl"},
            "questions": {**kinds, "path": "questions.jsonl", "collection": "wiki"},
            "again": {**kinds, "path": "questions.jsonl"},
        }
    )
    family = families(sources)
    assert family["wiki"] == family["titles"] == family["questions"] == family["again"] != family["news"]


def build(tmp_path, raw, sources, **change):
    """The tables duplicates, passages and pairs of sources with these raw rows."""
    for name, rows in raw.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    parsed = parse_sources({name: {"path": f"{name}.jsonl.gz", **source} for name, source in sources.items()})
    rules = {**SHIPPED, "threshold": 0.8, "scratch": str(tmp_path / "scratch"), **change}
    schemas = {name: SCHEMAS[name] for name in ("duplicates", "passages", "pairs")}
    duplicates = write_table(tmp_path / "duplicates", schemas["duplicates"], duplicate_parts(parsed, tmp_path, rules))
    passages = write_table(tmp_path / "passages", schemas["passages"], passage_parts(parsed, tmp_path, duplicates))
    pairs = write_table(tmp_path / "pairs", schemas["pairs"], pair_parts(parsed, tmp_path, duplicates))
    return duplicates, passages, pairs


PASSAGE = corpus(1)[0]
QUESTIONS = [
    {"question": "誰が築いたか。", "answers": [], "context": PASSAGE},
    {"question": "いつ築いたか。", "answers": [], "context": PASSAGE},
    {"question": "なぜ築いたか。", "answers": [], "context": PASSAGE[:-1] + "変"},
]
KIND = {"kind": "question_to_passage", "fields": {"text": "context"}}


def test_a_pair_goes_with_its_positive_and_no_id_is_left_without_text(tmp_path):
    other = {"question": "どこか。", "answers": [], "context": corpus(2)[1]}
    raw = {"a": QUESTIONS, "b": [QUESTIONS[2], other]}
    duplicates, passages, pairs = build(tmp_path, raw, {"a": KIND, "b": KIND})
    assert [(row["source"], row["kept_source"]) for row in duplicates.iter_rows()] == [("a", "a"), ("b", "a")]
    known = {row["docid"]: row["text"] for row in passages.iter_rows()}
    rows = list(pairs.iter_rows())
    assert [known[row["anchor"]] for row in rows] == ["誰が築いたか。", "いつ築いたか。", "どこか。"]
    assert {row["anchor"] for row in rows} | {row["positive"] for row in rows} == set(known)


def test_anchors_and_negatives_are_not_compared(tmp_path):
    edited = PASSAGE[:-1] + "変"
    raw = [
        {"premise": PASSAGE, "hypothesis": edited, "label": "entailment"},
        {"premise": PASSAGE, "hypothesis": PASSAGE[:-1] + "否", "label": "contradiction"},
    ]
    duplicates, passages, pairs = build(tmp_path, {"a": raw}, {"a": {"kind": "premise_to_hypothesis"}})
    assert duplicates.rows() == 0 and passages.rows() == 3 and pairs.rows() == 1


def test_the_shipped_parameters_keep_every_text(tmp_path):
    duplicates, _, pairs = build(tmp_path, {"a": QUESTIONS}, {"a": KIND}, threshold=SHIPPED["threshold"])
    assert duplicates.parts() == ["all"] and duplicates.rows() == 0 and pairs.rows() == 3


@pytest.mark.parametrize(("change", "again"), [({"memory_mb": 1}, 40), ({"threshold": 0.7}, 60)])
def test_the_table_of_a_stopped_run_is_continued_unless_its_rows_depend_on_what_changed(
    tmp_path, monkeypatch, change, again
):
    hashed = []
    buckets = MinHash.buckets
    monkeypatch.setattr(MinHash, "buckets", lambda self, keys: hashed.extend(keys) or buckets(self, keys))
    monkeypatch.setattr(reading, "SHARD_CHARS", 1)  # a row a shard
    rows = [{"question": f"{number}?", "answers": [], "context": text} for number, text in enumerate(corpus(60))]
    raw = {"a": rows[:20], "b": rows[20:]}
    with stopped(23 * 20 + 5, full_disk), pytest.raises(OSError):  # 23 files: in the first shard of b
        build(tmp_path, raw, {"a": KIND, "b": KIND})
    hashed.clear()
    duplicates, *_ = build(tmp_path, raw, {"a": KIND, "b": KIND}, **change)
    assert len(hashed) == again and not list((tmp_path / "scratch").iterdir())
    (tmp_path / "whole").mkdir()
    whole, *_ = build(tmp_path / "whole", raw, {"a": KIND, "b": KIND}, **change)
    assert duplicates.digest() == whole.digest() and duplicates.rows() > 10


def test_a_source_whose_pairs_all_go_is_named(tmp_path):
    with pytest.raises(DataError, match=r"source 'b' .*Of 1 rows: deduplication .* removed 1"):
        build(tmp_path, {"a": QUESTIONS, "b": QUESTIONS[:1]}, {"a": KIND, "b": KIND})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 1.5}, "deduplication.threshold: 1.5 is given, expected is less than or equal to 1"),
        ({"threshold": "0.8"}, 'deduplication.threshold: "0.8" .text; .* is given, expected is a valid number'),
        ({"bands": 0}, "deduplication.bands: 0 is given, expected is greater than or equal to 1"),
        ({"memory_mb": 0.5}, "deduplication.memory_mb: 0.5 is given, expected is a valid integer"),
        ({"colour": 1}, "deduplication.colour: there is no such parameter. Allowed: threshold, min_chars"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(change, message):
    with pytest.raises(RecipeError, match=message):
        parse(DuplicateRules, {**SHIPPED, **change}, "deduplication")
