"""Properties of the text functions."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.text.hashing import stable_id, unit_interval
from ruri_kedro.text.normalize import is_blank, match_key, normalize
from ruri_kedro.text.sentences import shuffle_sentences, split_sentences

texts = st.text(st.characters(codec="utf-8"), max_size=60)
japanese = st.text(st.sampled_from("あ漢「」『』（）。！？、 \nab"), max_size=40)


@given(texts)
def test_normalize_is_idempotent(text):
    assert normalize(normalize(text)) == normalize(text)


def test_match_key_keeps_letters_and_numbers_as_python_counts_them():
    text = "".join(chr(code) for code in range(sys.maxunicode + 1))
    assert match_key(text) == "".join(char for char in normalize(text).casefold() if char.isalnum())


@given(st.lists(texts, max_size=5))
def test_normalize_keeps_words_in_their_order(words):
    assert normalize("\n".join(words)) == " ".join(filter(None, map(normalize, words)))


@given(texts)
def test_normalize_leaves_no_control_character_and_single_spaces_inside_only(text):
    clean = normalize(text)
    assert not [c for c in clean if unicodedata.category(c) in ("Cc", "Cs", "Co")]
    assert clean == clean.strip() and "  " not in clean and not any(c.isspace() and c != " " for c in clean)


@given(texts)
def test_match_key_ignores_what_normalisation_removes(text):
    assert match_key(normalize(text)) == match_key(text)


def test_normalize_folds_width_and_removes_the_invisible():
    assert normalize("ﾃｽﾄ\u200b　Ａ\u00ad１\ufeff\n\n②") == "テスト A1 2"


def test_blank_is_what_normalisation_leaves_nothing_of():
    assert is_blank("\u200b\u3000\ufeff")
    assert not is_blank("\u200b" * 100 + "あ")


@given(japanese)
def test_sentences_joined_give_the_text(text):
    assert "".join(split_sentences(text)) == text


@given(japanese)
def test_sentences_are_not_split_again(text):
    for sentence in split_sentences(text):
        assert split_sentences(sentence) == [sentence]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("「（一。）二。」三。四。", ["「（一。）二。」三。", "四。"]),
        ("（「一。）」二。三。", ["（「一。）」二。", "三。"]),  # they cross
        ("「一。\n二。」三。", ["「一。", "\n", "二。", "」三。"]),  # not closed on its line
        ("一!?二。。」三", ["一!?", "二。。", "」三"]),
    ],
)
def test_brackets_hold_together_what_they_enclose(text, sentences):
    assert split_sentences(text) == sentences


@given(japanese, st.integers())
def test_shuffling_keeps_the_sentences(text, seed):
    shuffled = shuffle_sentences(text, seed)
    assert sorted(shuffled) == sorted(text)
    assert shuffle_sentences(text, seed) == shuffled


def test_a_quoted_full_stop_ends_no_sentence():
    text = "彼は「行く。」と言った。本当（か？嘘か？）は知らない！？終わり"
    assert split_sentences(text) == ["彼は「行く。」と言った。", "本当（か？嘘か？）は知らない！？", "終わり"]


def test_an_unclosed_bracket_is_a_plain_character():
    assert split_sentences("「一つ。二つ。") == ["「一つ。", "二つ。"]


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=4))
def test_ids_differ_where_the_parts_differ(first, second):
    assert (stable_id(*first) == stable_id(*second)) == (first == second)


@given(texts)
def test_unit_interval_is_a_share(text):
    assert 0 <= unit_interval(text) < 1
