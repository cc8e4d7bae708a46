"""Texts that a test holds: kind by kind, and against a search without hashes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leak_rules import EDITED, EMBEDDED, LONG, RULES, SETTINGS

from ruri_kedro.benchmark.leaks.matches import BenchmarkTexts, LeakRules, find_matches
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables.schema import MATCHES
from ruri_kedro.tables.store import to_batch
from ruri_kedro.text.normalize import match_key
from ruri_kedro.text.overlap import containment, jaccard


def row(text: str, role: str = "text", item_id: str = "0", test: str = "t") -> dict:
    return {"test": test, "role": role, "item_id": item_id, "text": text}


def matches(texts: list[str], rows: list[dict], rules: LeakRules = RULES) -> list[dict]:
    """Matches of texts with the ids '0', '1', ..."""
    named = [(str(number), text) for number, text in enumerate(texts)]
    return list(find_matches(lambda: named, BenchmarkTexts(lambda: rows, rules), rules.min_chars))


@pytest.mark.parametrize(
    ("text", "test_text", "kind"),
    [
        ("「犬が公園を 走る」", "犬が公園を走る。", "exact"),
        ("ハイ", "はい。", None),
        (EMBEDDED, LONG, "contained"),
        (LONG, EMBEDDED, "contained"),
        (EDITED, LONG, "near"),
        (
            "本丸の石垣は三度の地震で崩れ、その都度積み直された。",
            "本丸の門は三度の戦で焼け、その都度建て直された。",
            None,
        ),
        ("本丸の石垣", "本丸の石垣は三度の地震で崩れた。", None),  # shorter than an n-gram
    ],
)
def test_kinds(text, test_text, kind):
    found = matches([text], [row(test_text)])
    assert [match["kind"] for match in found] == ([kind] if kind else [])
    assert to_batch(found, MATCHES).num_rows == len(found)
    if kind == "near":
        assert found[0]["overlap"] == pytest.approx(jaccard(match_key(text), match_key(test_text), 5))
    elif kind:
        assert found[0]["overlap"] == 1


def test_a_short_text_counts_as_a_query_only():
    rows = [row("首都?", role, "q") for role in ("query", "positive", "text", "passage")]
    assert [(m["role"], m["kind"]) for m in matches(["首都"], rows)] == [("query", "short")]


def test_the_strongest_match_of_a_role_is_told_and_every_query():
    rows = [row(EMBEDDED, "text", "long"), row(LONG, "text", "same"), row(LONG, "text", "again")]
    rows += [row(LONG, "query", "q1"), row(LONG, "query", "q2")]
    found = [(m["role"], m["item_id"], m["kind"]) for m in matches([LONG], rows)]
    assert sorted(found) == [("query", "q1", "exact"), ("query", "q2", "exact"), ("text", "same", "exact")]


words = st.text("あいう。", max_size=14)
roles = st.sampled_from(["query", "positive", "text", "passage"])
test_rows = st.lists(st.builds(row, words, roles, st.sampled_from("123"), st.sampled_from(["t1", "t2"])), max_size=8)


@given(st.lists(words, max_size=6), test_rows, st.integers(1, 60))
def test_matches_are_what_a_plain_search_finds(texts, rows, index_ngrams):
    """Bands of one row miss a pair at 0.5 once in 2^64, so all that the rule names must be found."""
    near = {"ngram": 2, "threshold": 0.5, "min_chars": 6, "bands": 64, "rows": 1}
    settings = SETTINGS | {"contained": {"ngram": 3, "threshold": 0.8}, "near": near, "index_ngrams": index_ngrams}
    expected = set()
    for number, text in enumerate(texts):
        for test_row in rows:
            kind = plain_kind(text, test_row)
            if kind:
                expected.add((str(number), test_row["test"], test_row["role"], kind))
    found = {
        (m["docid"], m["test"], m["role"], m["kind"]) for m in matches(texts, rows, parse(LeakRules, settings, "leaks"))
    }
    assert found <= expected
    assert {place[:3] for place in expected} == {place[:3] for place in found}
    strongest = {place: min(map(order, kinds)) for place, kinds in grouped(expected).items()}
    assert {place: min(map(order, kinds)) for place, kinds in grouped(found).items()} == strongest


def plain_kind(text: str, test_row: dict) -> str | None:
    one, two = match_key(text), match_key(test_row["text"])
    if one and one == two:
        if len(one) >= 5:
            return "exact"
        return "short" if test_row["role"] == "query" else None
    if containment(one, two, 3) >= 0.8:
        return "contained"
    is_long = min(len(text), len(test_row["text"])) >= 6
    return "near" if is_long and jaccard(one, two, 2) >= 0.5 else None


def order(kind: str) -> int:
    return ["exact", "contained", "near", "short"].index(kind)


def grouped(found: set[tuple]) -> dict[tuple, set[str]]:
    groups: dict[tuple, set[str]] = {}
    for *place, kind in found:
        groups.setdefault(tuple(place), set()).add(kind)
    return groups


def test_one_portion_is_read_once_and_several_at_each_pass():
    reads = []

    def rows():
        reads.append(1)
        return [row(LONG, item_id="1"), row("犬が公園を走るのを見た人がいる。", item_id="2")]

    for index_ngrams, expected in ((1000, 1), (10, 2)):
        reads.clear()
        tests = BenchmarkTexts(rows, parse(LeakRules, SETTINGS | {"index_ngrams": index_ngrams}, "leaks"))
        found = [list(find_matches(lambda: [("d", LONG)], tests, 5)) for _ in range(2)]
        assert found[0] == found[1] and len(found[0]) == 1
        assert len(reads) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_chars": 0}, "leaks.min_chars: 0 is given, expected is greater than or equal to 1"),
        ({"contained": {"ngram": 13, "threshold": 1.2}}, "leaks.contained.threshold: 1.2 is given, .* equal to 1"),
        ({"near": SETTINGS["near"] | {"threshold": 0}}, "leaks.near.threshold: 0 is given, expected is greater than 0"),
        ({"contained": {"ngram": 13}}, "leaks.contained.threshold: missing"),
        ({"near": None}, "leaks.near: null is given, expected is"),
        ({"depth": 3}, "leaks.depth: there is no such parameter. Allowed: min_chars, contained, near, index_ngrams"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(change, message):
    with pytest.raises(RecipeError, match=message):
        parse(LeakRules, SETTINGS | change, "leaks")


def test_an_unknown_role_is_named():
    with pytest.raises(DataError, match=r"test 't', item '0', field 'role': 'title' is not known. Roles: query"):
        matches(["文章"], [row("文章である。", "title")])
