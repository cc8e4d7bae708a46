"""Leaks: the rule, part by part."""

import itertools

import pytest
from leak_rules import EDITED, EMBEDDED, LONG, RULES, leaks_of

from ruri_kedro.benchmark.leaks.contamination import find_leaks, is_removed, texts_to_avoid
from ruri_kedro.benchmark.leaks.matches import BenchmarkTexts, find_matches
from ruri_kedro.benchmark.tasks import load as tasks
from ruri_kedro.benchmark.tasks.sts import StsTask
from ruri_kedro.tables.schema import LEAKS
from ruri_kedro.tables.store import to_batch

STS = StsTask("sts", ("犬が公園を走る。",), ("はい",), (1.0,))


@pytest.mark.parametrize(
    ("anchor", "positive", "expected"),
    [
        ("日本の首都は？", "別の文章である。", [("capitals", "anchor", "query", True)]),
        (
            "日本の首都は?",
            "日本の首都は東京です",
            [
                ("capitals", "anchor", "query", True),
                ("capitals", "pair", "pair", True),
                ("capitals", "positive", "passage", False),
            ],
        ),
        ("別の質問である？", "日本の首都は、東京です。", [("capitals", "positive", "passage", False)]),
        ("別の質問である？", "日本の首都は？", [("capitals", "positive", "query", True)]),
        ("日本の首都は東京です。", "別の文章である。", [("capitals", "anchor", "passage", False)]),
        ("「犬が公園を 走る」", "別の文章である。", [("sts", "anchor", "text", True)]),
        ("別の質問である？", "犬が公園を走る", [("sts", "positive", "text", True)]),
        ("はい", "はい", []),
        ("日本の首都は東京", "犬が公園を走った。", []),
    ],
)
def test_exact_matches(capitals, anchor, positive, expected):
    found = leaks_of([(anchor, positive)], [*tasks.test_texts(capitals), *tasks.test_texts(STS)])
    assert [(leak["test"], leak["part"], leak["role"], leak["removed"]) for leak in found] == expected
    assert all(leak["pair_id"] == "0" and leak["overlap"] == 1 and leak["kind"] == "exact" for leak in found)
    assert to_batch(found, LEAKS).num_rows == len(expected)


@pytest.mark.parametrize("role", ["query", "text", "passage"])
@pytest.mark.parametrize(("text", "kind"), [(LONG, "exact"), (EMBEDDED, "contained"), (EDITED, "near")])
@pytest.mark.parametrize("part", ["anchor", "positive", "negative"])
def test_every_text_of_a_pair_is_compared_with_every_test_text(role, text, kind, part):
    pair = [text if part == name else f"{name}の文章である。" for name in ("anchor", "positive", "negative")]
    rows = [{"test": "t", "role": role, "item_id": "0", "text": LONG}]
    (leak,) = leaks_of([pair], rows)
    assert (leak["part"], leak["role"], leak["kind"], leak["docid"]) == (part, role, kind, text)
    assert leak["removed"] == is_removed(part, role, kind)


def test_only_a_passage_or_the_mention_of_a_query_stays():
    cases = itertools.product(
        ("anchor", "positive", "negative"), ("query", "text", "passage"), ("exact", "contained", "near")
    )
    reported = {case for case in cases if not is_removed(*case)}
    assert {case for case in reported if case[1] != "passage"} == {
        ("positive", "query", "contained"),
        ("negative", "query", "contained"),
    }
    assert len(reported) == 9 + 2
    assert is_removed("pair", "pair", "near")


def test_a_short_query_counts_with_its_positive():
    rows = [
        {"test": "t", "role": role, "item_id": item, "text": text}
        for role, item, text in [
            ("query", "q", "首都?"), ("positive", "q", LONG), ("query", "r", "城?"), ("positive", "r", "石垣は高い。"),
            ("passage", "d", LONG), ("passage", "e", "石垣は高い。"),
        ]
    ]  # fmt: skip
    found = leaks_of([("首都", EDITED), ("首都", "石垣は高い"), ("城", "城")], rows)
    assert [(leak["pair_id"], leak["part"], leak["kind"], leak["item_id"], leak["removed"]) for leak in found] == [
        ("0", "pair", "near", "q", True),
        ("0", "positive", "near", "d", False),
        ("1", "positive", "exact", "e", False),
    ]


def test_a_pair_is_as_strong_as_its_weaker_half():
    rows = [
        {"test": "t", "role": role, "item_id": "q", "text": text}
        for role, text in [("query", LONG), ("positive", "石垣は高い。")]
    ]
    found = leaks_of([(EMBEDDED, "石垣は高い")], rows)
    assert [(leak["part"], leak["kind"]) for leak in found] == [("anchor", "contained"), ("pair", "contained")]


def test_every_test_that_holds_the_text_is_named(capitals):
    again = type(capitals)("again", capitals.queries, capitals.corpus, capitals.qrels)
    rows = [row for task in (capitals, again) for row in tasks.test_texts(task)]
    assert [leak["test"] for leak in leaks_of([("日本の首都は?", "別の文章である。")], rows)] == ["again", "capitals"]


def test_pairs_are_read_one_at_a_time():
    def endless():
        for number in itertools.count():
            yield {"pair_id": str(number), "anchor": "d", "positive": "e", "given_negatives": []}

    match = {"docid": "d", "test": "t", "role": "text", "item_id": "0", "kind": "exact", "overlap": 1.0}
    found = itertools.islice(find_leaks(endless(), [match]), 3)
    assert [leak["pair_id"] for leak in found] == ["0", "1", "2"]


def test_a_text_that_would_remove_its_pair_is_no_negative():
    rows = [
        {"test": "t", "role": role, "item_id": str(number), "text": text}
        for number, (role, text) in enumerate(
            [("query", LONG), ("passage", "石垣は高い。"), ("text", "堀は深かった。")]
        )
    ]
    rows += [{"test": "t", "role": "query", "item_id": "s", "text": "堀?"}]
    texts = [LONG, EDITED, EMBEDDED, "石垣は高い", "堀は深かった", "堀", "何もない。"]
    matches = find_matches(lambda: ((text, text) for text in texts), BenchmarkTexts(lambda: rows, RULES), 5)
    assert texts_to_avoid(matches) == {LONG, EDITED, "堀は深かった"}
