"""Which excerpts are drawn."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.corpora.kinds import Text
from ruri_kedro.corpora.synthesis.choose import Choice, choose, passages, sentences
from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import parse

paragraphs = st.builds(
    Text, st.text("あいうえお。", min_size=1, max_size=12), st.sampled_from(["", "城", "川", "山"]), st.just("節")
)
texts = st.lists(paragraphs, max_size=30).map(lambda found: sorted(found, key=lambda text: text.title))


def choice(**given) -> Choice:
    return Choice(**{"count": 5, "per_article": 1, "min_chars": 1, "max_chars": 1000, **given})


def article(title: str, number: int) -> list[Text]:
    return [Text(f"{title}の段落{n}。", title, f"節{n // 4}") for n in range(number)]


@settings(deadline=None)
@given(texts, st.integers(1, 8), st.integers(0, 8), st.integers(1, 3), st.sampled_from([passages, sentences]))
def test_a_larger_draw_holds_the_smaller_one_first(texts, count, more, per_article, cut):
    small = choose(texts, cut, choice(count=count, per_article=per_article), 0)
    large = choose(texts, cut, choice(count=count + more, per_article=per_article), 0)
    assert len(small) <= count and len(set(small)) == len(small)
    assert set(small) <= set(large)
    untitled = [text for text in texts if not text.title]
    if len(set(texts)) == len(texts) and not untitled:
        assert large[: len(small)] == small


def test_every_article_gives_one_before_any_gives_two():
    texts = [text for title in ("城", "川", "山", "海") for text in article(title, 40)]
    drawn = choose(texts, passages, choice(count=6, per_article=2), 0)
    assert set(Counter(text.title for text in drawn[:4]).values()) == {1}
    assert Counter(text.title for text in drawn).most_common(1)[0][1] == 2


def test_long_articles_are_drawn_as_often_as_short_ones():
    texts = [text for n in range(400) for text in article(f"題{n}", 30 if n % 2 else 3)]
    drawn = choose(texts, passages, choice(count=100, paragraphs=3), 0)
    long = sum(int(text.title[1:]) % 2 for text in drawn)
    assert 30 <= long <= 70


def test_another_seed_draws_others():
    texts = [text for n in range(50) for text in article(f"題{n}", 1)]
    first, second = (choose(texts, passages, choice(count=10), seed) for seed in (1, 2))
    assert first != second and set(first) != set(second)


def test_three_paragraphs_are_joined_and_keep_a_common_section():
    texts = article("城", 8)
    assert list(passages(texts, choice(paragraphs=3))) == [
        Text("城の段落0。城の段落1。城の段落2。", "城", "節0"),
        Text("城の段落3。城の段落4。城の段落5。", "城", ""),
    ]
    assert list(passages(texts[:2], choice(paragraphs=3))) == [Text("城の段落0。城の段落1。", "城", "節0")]


def test_only_whole_sentences_of_fitting_length_are_premises():
    text = Text("短い。これは程よい長さの文である。見出しのように終わらない文", "城")
    assert choose([text], sentences, choice(min_chars=8, per_article=9), 0) == [Text("これは程よい長さの文である。")]


def test_the_same_sentence_of_two_articles_is_drawn_once():
    texts = [Text("同じ文である。", title) for title in ("城", "川", "山")]
    assert choose(texts, sentences, choice(), 0) == [Text("同じ文である。")]


@pytest.mark.parametrize(
    "wrong", [{"count": -1}, {"per_article": 0}, {"paragraphs": 0}, {"min_chars": 0}, {"min_chars": 1001}]
)
def test_a_choice_of_nothing_is_refused(wrong):
    given = {"count": 5, "per_article": 1, "min_chars": 1, "max_chars": 1000}
    with pytest.raises(RecipeError, match=rf"set\.{next(iter(wrong))}: "):
        parse(Choice, given | wrong, "set")
