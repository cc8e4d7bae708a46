"""Leaks: the rule, kind by kind, and against a search without an index."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.benchmark import tasks
from ruri_kedro.benchmark.contamination import find_leaks
from ruri_kedro.benchmark.tasks import StsTask
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables.schema import LEAKS
from ruri_kedro.tables.store import to_batch
from ruri_kedro.text.normalize import match_key

STS = StsTask("sts", ("犬が公園を走る。",), ("はい",), (1.0,))


def pair(anchor: str, positive: str, pair_id: str = "p") -> dict:
    return {"pair_id": pair_id, "source": "s", "anchor_text": anchor, "positive_text": positive}


@pytest.mark.parametrize(
    ("anchor", "positive", "leaks"),
    [
        ("日本の首都は？", "別の文章である。", [("capitals", "query", True)]),
        (
            "日本の首都は?",
            "日本の首都は東京です",
            [("capitals", k, r) for k, r in [("query", 1), ("pair", 1), ("passage", 0)]],
        ),
        ("別の質問である？", "日本の首都は、東京です。", [("capitals", "passage", False)]),
        ("別の質問である？", "日本の首都は？", []),
        ("日本の首都は東京です。", "別の文章である。", []),
        ("「犬が公園を 走る」", "別の文章である。", [("sts", "text", True)]),
        ("別の質問である？", "犬が公園を走る", [("sts", "text", True)]),
        ("はい", "はい", []),
        ("日本の首都は東京", "犬が公園を走った。", []),
    ],
)
def test_the_rule(capitals, anchor, positive, leaks):
    test_texts = itertools.chain(tasks.test_texts(capitals), tasks.test_texts(STS))
    found = list(find_leaks([pair(anchor, positive)], test_texts))
    assert [(leak["test"], leak["kind"], leak["removed"]) for leak in found] == leaks
    assert all(leak["pair_id"] == "p" and leak["overlap"] == 1 for leak in found)
    assert to_batch(found, LEAKS).num_rows == len(leaks)


def test_a_pair_is_as_long_as_its_two_texts():
    texts = [("query", "首都?"), ("positive", "日本の首都は東京です。"), ("passage", "日本の首都は東京です。")]
    rows = [{"test": "t", "role": role, "item_id": "q", "text": text} for role, text in texts]
    found = find_leaks([pair("首都", "日本の首都は東京です")], rows)
    assert [leak["kind"] for leak in found] == ["pair", "passage"]


def test_the_shortest_text_that_counts(capitals):
    rows = [{"test": "t", "role": "text", "item_id": "0", "text": "はい!"}]
    for min_chars, leaks in ((1, 1), (2, 1), (3, 0)):
        assert len(list(find_leaks([pair("ハイ", "はい。")], rows, min_chars))) == leaks


def test_every_test_that_holds_the_text_is_named(capitals):
    again = type(capitals)("again", capitals.queries, capitals.corpus, capitals.qrels)
    rows = [row for task in (capitals, again) for row in tasks.test_texts(task)]
    found = find_leaks([pair("日本の首都は?", "別の文章である。")], rows)
    assert [leak["test"] for leak in found] == ["again", "capitals"]


words = st.text("あいう。 ", max_size=3)
test_row = st.tuples(st.sampled_from(["t1", "t2"]), words, st.lists(words, max_size=2), words, words)


@given(st.lists(test_row, max_size=6), st.lists(st.tuples(words, words), max_size=6), st.integers(1, 3))
def test_leaks_are_what_a_plain_search_finds(rows, pairs, min_chars):
    texts, known = [], set()

    def note(kind, test, *parts):
        keys = tuple(map(match_key, parts))
        if len("".join(keys)) >= min_chars:
            known.add((kind, test, keys))

    for number, (test, query, positives, text, passage) in enumerate(rows):
        item = {"test": test, "item_id": str(number)}
        texts += [{**item, "role": "positive", "text": positive} for positive in positives]
        texts += [
            {**item, "role": role, "text": t} for role, t in [("query", query), ("text", text), ("passage", passage)]
        ]
        for positive in positives:
            note("pair", test, query, positive)
        for kind, part in (("query", query), ("text", text), ("passage", passage)):
            note(kind, test, part)
    expected = set()
    for number, (anchor, positive) in enumerate(pairs):
        a, p = match_key(anchor), match_key(positive)
        sought = [("query", (a,)), ("text", (a,)), ("text", (p,)), ("pair", (a, p)), ("passage", (p,))]
        expected |= {(str(number), t, k) for k, keys in sought for t in ("t1", "t2") if (k, t, keys) in known}
    given_pairs = [pair(anchor, positive, str(number)) for number, (anchor, positive) in enumerate(pairs)]
    found = [(leak["pair_id"], leak["test"], leak["kind"]) for leak in find_leaks(given_pairs, texts, min_chars)]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_pairs_are_read_one_at_a_time(capitals):
    def endless():
        for number in itertools.count():
            yield pair("日本の首都は?", "別の文章である。", str(number))

    leaks = find_leaks(endless(), tasks.test_texts(capitals))
    assert [leak["pair_id"] for leak in itertools.islice(leaks, 3)] == ["0", "1", "2"]


def test_nothing_leaks_from_jaquad_into_jsquad_but_jsquad_itself(shared_data):
    spec = {"type": "retrieval", "shape": "qa"}
    jsquad = tasks.load_task("jsquad", {**spec, "path": "ja/jsquad/valid.jsonl.gz"}, shared_data)
    jaquad = tasks.load_task("jaquad", {**spec, "path": "ja/jaquad/train.jsonl.gz"}, shared_data)
    pairs = (
        pair(task.queries[qid], task.corpus[docid], f"{task.name}/{qid}")
        for task in (jsquad, jaquad)
        for qid, positives in task.qrels.items()
        for docid in positives
    )
    found = list(find_leaks(pairs, tasks.test_texts(jsquad)))
    assert len(found) == 3 * len(jsquad.queries)
    assert all(leak["pair_id"].startswith("jsquad/") for leak in found)


@pytest.mark.parametrize(
    ("row", "min_chars", "error", "message"),
    [
        ({"role": "title"}, 5, DataError, "test 't', item 'x', field 'role': 'title' is not known"),
        ({"role": "positive"}, 5, DataError, "test 't', item 'x', role 'positive': there is no query"),
        ({"role": "text"}, 0, RecipeError, "min_chars: 0 given"),
    ],
)
def test_what_does_not_fit_is_named_before_the_first_pair(row, min_chars, error, message):
    with pytest.raises(error, match=message):
        find_leaks([], [{"test": "t", "item_id": "x", "text": "文章である。", **row}], min_chars)
