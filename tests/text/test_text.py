"""Properties of the text functions."""

import sys
import unicodedata
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.text import sentences
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


@pytest.mark.parametrize("char", [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()] + ["\u2800"])
def test_what_parts_words_lines_pages_or_fields_becomes_a_space(char):
    assert normalize(f"一{char}二") == normalize(f"一 {char} 二") == "一 二"
    assert normalize(f"{char}一{char}") == "一"


def test_line_ends_of_every_system_are_one_space():
    assert normalize("page one\fpage two\vthree\x85four\r\nfive\rsix\u2028seven\u2029eight") == (
        "page one page two three four five six seven eight"
    )


@pytest.mark.parametrize("char", "\x00\x07\x1b\x7f\x80\u00ad\u200b\ufeff")
def test_what_parts_nothing_is_taken_out(char):
    assert normalize(f"一{char}二") == "一二"


@pytest.mark.parametrize(
    "char", "\u2800\u115f\u1160\u3164\uffa0\u200b\u200d\u2060\ufeff\u034f\u180e\ufe0f\x0c\x85\u2028"
)
def test_a_text_of_nothing_visible_is_blank(char):
    assert is_blank(char) and is_blank(char * 200) and is_blank(f" {char}\n")


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
    ("text", "found"),
    [
        ("「（一。）二。」三。四。", ["「（一。）二。」三。", "四。"]),
        ("（「一。）」二。三。", ["（「一。）」二。", "三。"]),  # they cross
        ("「一。\n二。」三。", ["「一。", "\n", "二。", "」三。"]),  # not closed on its line
        ("一!?二。。」三", ["一!?", "二。。", "」三"]),
    ],
)
def test_brackets_hold_together_what_they_enclose(text, found):
    assert split_sentences(text) == found


def plain_depths(line: str) -> list[int]:
    """The rule of brackets written plainly: a closing one looks through all that are open."""
    changes, opened = [0] * (len(line) + 1), []
    for position, char in enumerate(line):
        if char in sentences._OPEN:
            opened.append((sentences._OPEN[char], position))
        elif char in sentences._CLOSE and any(partner == char for partner, _ in opened):
            while opened[-1][0] != char:
                opened.pop()
            changes[opened.pop()[1]] += 1
            changes[position] -= 1
    return list(accumulate(changes))


@given(st.text(st.sampled_from("「」『』（）()【】あ。"), max_size=60))
def test_brackets_are_matched_as_the_plain_rule_does(line):
    assert sentences._depths(line) == plain_depths(line)


@pytest.mark.parametrize(
    "line", ["「" * 200_000 + "）" * 200_000, "（「" * 100_000 + "』）" * 100_000, "あ" * 400_000, "「（」" * 100_000]
)
def test_unmatched_brackets_take_no_more_than_linear_time(line):
    """By the plain rule a line of these takes hours."""
    assert "".join(split_sentences(line + "。次。")) == line + "。次。"


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
