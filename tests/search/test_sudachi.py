"""What Sudachi makes of a text."""

from collections import Counter

import pytest

from ruri_kedro.search.bm25.sudachi import term_splitter


def test_spellings_of_a_word_are_one_term():
    split = term_splitter("c")
    assert split("附属のシュミレーションを打込む") == split("付属シミュレーション打ち込む")


def test_particles_punctuation_and_spaces_are_no_terms():
    assert term_splitter("c")("　東京は、高い。 😀!") == "東京 高い"
    assert term_splitter("c")("...。、!?　") == ""
    assert term_splitter("c")("") == ""


def test_modes_differ_in_the_length_of_words():
    assert term_splitter("a")("東京都庁") == "東京 都庁"
    assert term_splitter("c")("東京都庁") == "東京都庁"


def test_case_and_width_do_not_count():
    split = term_splitter("b")
    assert split("ＡＰＰＬＥ Kedro") == split("apple kedro")


@pytest.mark.parametrize("character", ["あ", "𠮷", "a"])
def test_a_text_of_any_length_is_split(character):
    # Sudachi itself raises an error past 49,149 bytes.
    assert term_splitter("b")("カレー" + character * 60_000 + "。カレー").count("カレー") == 2


def test_a_long_text_has_the_terms_of_its_parts():
    split = term_splitter("b")
    part = "東京タワーは高い。" * 400
    whole, parts = Counter(split(part * 10).split()), Counter(split(part).split() * 10)
    # The two cuts may each fall into a word.
    assert (whole - parts).total() + (parts - whole).total() <= 8
