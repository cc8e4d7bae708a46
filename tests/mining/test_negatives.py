"""What a choice of negatives must hold, whatever the ranking."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.errors import RecipeError
from ruri_kedro.mining.negatives import ChoiceRules, Window, choose_negatives, random_negatives
from ruri_kedro.text.normalize import match_key

DOCIDS = [f"d{number:02}" for number in range(30)]
RULES = ChoiceRules(Window(3, 6), n=2, fill=True, mine_window=Window(1, 10), max_mined=2, min_answer_chars=2)


def windows(last=35):
    return st.tuples(st.integers(1, last), st.integers(1, last)).map(lambda ends: Window(min(ends), max(ends)))


@st.composite
def queries(draw):
    """Everything `choose_negatives` takes; texts are short, so that they recur and hold answers often."""
    ranked = draw(st.lists(st.sampled_from(DOCIDS), unique=True))
    positives = draw(st.sets(st.sampled_from(DOCIDS), max_size=3))
    known = {*ranked, *positives}
    texts = {
        docid: draw(st.text("ab。", min_size=1, max_size=3)) + draw(st.sampled_from(["x", "y", ""])) for docid in known
    }
    rules = ChoiceRules(
        window=draw(windows()),
        n=draw(st.integers(0, 8)),
        fill=draw(st.booleans()),
        mine_window=draw(st.none() | windows()),
        max_mined=draw(st.integers(0, 3)),
        min_answer_chars=draw(st.integers(1, 3)),
    )
    return {
        "ranked": ranked,
        "texts": texts,
        "positives": positives,
        "answers": draw(st.lists(st.text("abxＡ 。", max_size=3), max_size=2)),
        "rules": rules,
        "barred": draw(st.sets(st.sampled_from(DOCIDS))),
        "seed": draw(st.text(max_size=3)),
    }


def choose(query):
    rest = {name: value for name, value in query.items() if name not in ("ranked", "texts")}
    return choose_negatives(query["ranked"], keys_of(query["texts"]), **rest)


def keys_of(texts):
    return {docid: match_key(text) for docid, text in texts.items()}


def usable(query, docids):
    """Docids that may be negatives, by the plain rules, one for each text."""
    known = {"", *(match_key(query["texts"][docid]) for docid in query["positives"])}
    least = query["rules"].min_answer_chars
    answers = [key for key in map(match_key, query["answers"]) if key and len(key) >= least]
    found = {}
    for docid in docids:
        key = match_key(query["texts"][docid])
        if docid not in query["barred"] and key not in known and not any(a in key for a in answers):
            found.setdefault(key, docid)
    return list(found.values())


@given(queries())
def test_negatives_are_usable_distinct_and_as_many_as_there_are(query):
    rules, ranked = query["rules"], query["ranked"]
    choice = choose(query)
    inside = usable(query, rules.window.of(ranked))
    drawn = min(rules.n, len(inside))
    assert set(choice.negatives[:drawn]) <= set(inside)
    assert choice.candidates_left == len(inside) - drawn
    after, before = ranked[rules.window.last :], ranked[: rules.window.first - 1][::-1]
    everything = usable(query, [*rules.window.of(ranked), *after, *before])
    filled = everything[len(inside) :][: rules.n - drawn] if rules.fill else []
    assert choice.negatives[drawn:] == filled


@given(queries())
def test_mined_positives_are_the_first_with_an_answer_long_enough(query):
    rules = query["rules"]
    known = {"", *(match_key(query["texts"][docid]) for docid in query["positives"])}
    answers = [key for key in map(match_key, query["answers"]) if len(key) >= rules.min_answer_chars]
    expected = {}
    for docid in rules.mine_window.of(query["ranked"]) if rules.mine_window else []:
        key = match_key(query["texts"][docid])
        if key not in known and any(answer in key for answer in answers):
            expected.setdefault(key, docid)
    assert choose(query).mined_positives == list(expected.values())[: rules.max_mined]


@given(queries())
def test_the_same_query_and_seed_give_the_same_choice(query):
    assert choose(query) == choose(query | {"answers": [*query["answers"], *query["answers"]]})


def by_number(seed="1", **change):
    ranked = [str(number) for number in range(1, 13)]
    texts = {docid: f"本文{docid}番" for docid in ranked}
    given = {"positives": (), "answers": (), "rules": RULES, "seed": seed} | change
    return choose_negatives(ranked, keys_of(texts), **given)


def test_every_document_of_the_window_is_drawn_with_some_seed():
    drawn = {docid for seed in range(60) for docid in by_number(str(seed)).negatives}
    assert drawn == {"3", "4", "5", "6"}


def test_a_used_up_window_is_filled_from_after_it_then_before_it():
    rules = replace(RULES, window=Window(10, 11), n=5)
    choice = by_number(rules=rules)
    assert set(choice.negatives[:2]) == {"10", "11"}
    assert (choice.negatives[2:], choice.candidates_left) == (["12", "9", "8"], 0)
    assert len(by_number(rules=replace(rules, fill=False)).negatives) == 2


def test_a_document_with_the_answer_is_mined_and_never_a_negative():
    choice = by_number(answers=["文４番。", "本文11"], rules=replace(RULES, n=12))
    assert choice.mined_positives == ["4"]
    assert set(choice.negatives) == {"1", "2", "3", "5", "6", "7", "8", "9", "10", "12"}


@pytest.mark.parametrize("answer", ["4", "本", "「番」"])
def test_a_short_answer_bars_and_mines_nothing(answer):
    choice = by_number(answers=[answer], rules=replace(RULES, n=12))
    assert choice.mined_positives == []
    assert len(choice.negatives) == 12


@pytest.mark.parametrize("ends", [(0, 3), (5, 4)])
def test_ranks_that_cannot_be_are_refused(ends):
    with pytest.raises(RecipeError, match=f"ranks {ends[0]} to {ends[1]}"):
        Window(*ends)


@pytest.mark.parametrize("ratio", [0, -0.5, 1.01])
def test_a_ratio_that_cannot_be_is_refused(ratio):
    with pytest.raises(RecipeError, match=f"max_score_ratio={ratio}"):
        replace(RULES, max_score_ratio=ratio)


@given(
    pool=st.lists(st.sampled_from(DOCIDS)),
    exclude=st.sets(st.sampled_from(DOCIDS)),
    n=st.integers(-1, 40),
    seed=st.text(max_size=3),
)
def test_random_negatives_are_distinct_allowed_and_as_many_as_there_are(pool, exclude, n, seed):
    drawn = random_negatives(pool, exclude, n, seed)
    assert len(drawn) == len(set(drawn)) == min(max(n, 0), len(set(pool) - exclude))
    assert set(drawn) <= set(pool) - exclude
    assert drawn == random_negatives(pool, exclude, n, seed)


def test_random_negatives_do_not_read_the_whole_pool():
    class Counted(list):
        reads = 0

        def __getitem__(self, index):
            Counted.reads += 1
            return super().__getitem__(index)

        def __iter__(self):
            raise AssertionError("the pool was read through")

    pool = Counted(map(str, range(100_000)))
    assert len(random_negatives(pool, {"1", "2"}, 15, "seed")) == 15
    assert Counted.reads < 30


def test_random_negatives_reach_every_document():
    pool = ["a", "b", "c", "d"]
    drawn = [random_negatives(pool, {"d"}, 1, str(seed))[0] for seed in range(300)]
    assert all(70 < drawn.count(docid) < 130 for docid in "abc")
