"""Properties of the filters: what they keep they keep again, in its order, and each says what its rule says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.text.filters import (
    LANGUAGES,
    TextFilter,
    has_length,
    is_boilerplate,
    is_language,
    kept,
    refusal,
    script_share,
)
from ruri_kedro.text.normalize import normalize

letters = st.text(st.sampled_from("あア漢字ーabcЯжш 。、.!0🙂"), max_size=30)
rules = st.builds(
    TextFilter,
    language=st.sampled_from([None, *LANGUAGES]),
    min_share=st.floats(0, 1),
    min_chars=st.integers(0, 10),
    max_chars=st.none() | st.integers(0, 30),
    boilerplate=st.booleans(),
)


@given(st.lists(letters, max_size=8), rules)
def test_filtering_is_idempotent_and_keeps_the_order(texts, rule):
    once = list(kept(texts, rule))
    assert list(kept(once, rule)) == once
    places = iter(texts)
    assert all(text in places for text in once)  # a subsequence: each is found behind the one before


@given(st.lists(letters, max_size=8))
def test_without_a_rule_all_is_kept(texts):
    assert list(kept(texts, TextFilter())) == texts


@given(letters, rules)
def test_a_text_is_judged_alone(text, rule):
    assert list(kept([text], rule)) == ([text] if refusal(text, rule) is None else [])


@given(letters)
def test_shares_add_up_to_all_letters_at_most(text):
    shares = [script_share(text, script) for script in ("kana", "kanji", "latin", "cyrillic")]
    assert all(0 <= share <= 1 for share in shares) and sum(shares) <= 1 + 1e-9
    assert script_share(text, "kana", "kanji") == pytest.approx(shares[0] + shares[1])


@given(letters, st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_share_keeps_no_more(text, first, second):
    low, high = sorted((first, second))
    for language in LANGUAGES:
        assert is_language(text, language, low) or not is_language(text, language, high)


@given(letters, st.integers(0, 40), st.integers(0, 40))
def test_lengths_are_characters(text, low, high):
    assert has_length(text, low, high) == (low <= len(text) <= high)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("東京は日本の首都である。", "ja"),
        ("Luceneで日本語の文書を全文検索する方法について", "ja"),
        ("Она читает книгу о городе Paris.", "ru"),
        ("The tower is 333 metres high.", "en"),
        ("北京是中国的首都。", None),  # no kana
        ("1, 2, 3!", None),
    ],
)
def test_languages_are_told_apart_by_their_scripts(text, language):
    assert [name for name in LANGUAGES if is_language(text, name)] == ([language] if language else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Copyright (C) 2020 会社 All Rights Reserved.", True),
        ("続きを読む", True),
        ("https://example.org/a?b=c", True),
        ("| --- | --- | 1 | 2 | 3 |", True),
        ("", True),
        ("ログインしてください", True),
        ("利用規約とは、サービスの提供者が利用者に示す約束である。" * 4, False),
        ("富士山は日本で最も高い山である(3776m)。", False),
    ],
)
def test_boilerplate_is_what_pages_repeat(text, expected):
    assert is_boilerplate(text) == expected


@given(letters)
def test_what_is_kept_stays_kept_after_normalisation(text):
    rule = TextFilter(language="ja", min_chars=3, boilerplate=False)
    clean = normalize(text)
    assert refusal(clean, rule) == refusal(normalize(clean), rule)
