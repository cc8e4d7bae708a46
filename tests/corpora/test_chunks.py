"""Long passages are cut at the ends of sentences, and a question keeps the chunk that holds its answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.corpora.build import pair_parts, passage_parts
from ruri_kedro.corpora.chunks import cut_to_answer
from ruri_kedro.corpora.kinds import Draft, Text
from ruri_kedro.corpora.reading import drafts
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables import SCHEMAS, write_table
from ruri_kedro.text.sentences import split_chunks, split_sentences

PASSAGE = "富士山は日本で最も高い山である。標高は3776メートルある。北は山梨県、南は静岡県に属する。"


def source(**row):
    kind = {"kind": "question_to_passage", "path": "faq.jsonl"}
    return parse_sources({"faq": {**kind, **row}})


def rows_in(tmp_path, *rows):
    lines = (json.dumps(dict(zip(("question", "answers", "text"), row, strict=True))) + "\n" for row in rows)
    (tmp_path / "faq.jsonl").write_text("".join(lines), "utf-8")
    return tmp_path


@given(st.text("あい。！「」\n ", max_size=60), st.integers(1, 20))
def test_chunks_are_the_text_in_the_longest_runs_of_whole_sentences(text, most):
    chunks = split_chunks(text, most)
    assert "".join(chunks) == text
    sentences = iter(split_sentences(text))
    firsts = []
    for chunk in chunks:
        firsts.append(held := next(sentences))
        while len(held) < len(chunk):
            held += next(sentences)
        assert held == chunk
        assert len(chunk) <= most or chunk == firsts[-1]
    for chunk, following in zip(chunks, firsts[1:], strict=False):
        assert len(chunk) + len(following) > most


@pytest.mark.parametrize(
    ("answers", "kept"),
    [
        (("3776メートル",), "富士山は日本で最も高い山である。標高は3776メートルある。"),
        (("静岡県", "静岡"), "北は山梨県、南は静岡県に属する。"),
        (("は",), None),  # in both chunks
        (("3776メートル", "静岡県"), None),
        (("箱根",), None),
        ((), None),
    ],
)
def test_a_question_keeps_the_one_chunk_with_an_answer(answers, kept):
    draft = Draft(Text(PASSAGE, "富士山"), Text("問い"), (Text("他"),), answers, "富士山")
    cut = cut_to_answer(draft, 30)
    assert cut == (kept and Draft(Text(kept, "富士山"), Text("問い"), (Text("他"),), answers, "富士山"))


def test_a_passage_that_is_short_enough_is_kept_whole():
    draft = Draft(Text(PASSAGE), Text("問い"), answers=("は",))
    assert cut_to_answer(draft, len(PASSAGE)) is draft


def test_tables_have_the_chunks_and_the_filter_sees_them(tmp_path):
    raw = rows_in(
        tmp_path,
        ("高さは?", ["3776メートル"], PASSAGE),
        ("南は?", ["静岡県"], PASSAGE),
        ("何が?", ["は"], PASSAGE),
        ("短い?", [], "短い。"),
    )
    sources = source(chunk_chars=30, filter={"min_chars": 20})
    passages = write_table(tmp_path / "passages", SCHEMAS["passages"], passage_parts(sources, raw))
    pairs = write_table(tmp_path / "pairs", SCHEMAS["pairs"], pair_parts(sources, raw))
    texts = {row["docid"]: row["text"] for row in passages.iter_rows()}
    assert [(texts[row["anchor"]], texts[row["positive"]]) for row in pairs.iter_rows()] == [
        ("高さは?", "富士山は日本で最も高い山である。標高は3776メートルある。")
    ]


def test_max_rows_counts_those_of_which_a_chunk_is_known(tmp_path):
    raw = rows_in(tmp_path, ("何が?", ["は"], PASSAGE), ("南は?", ["静岡県"], PASSAGE), ("高さは?", ["3776"], PASSAGE))
    read = drafts(source(chunk_chars=30, max_rows=1)["faq"], raw)
    assert [draft.anchor.text for _, draft in read] == ["南は?"]


def test_an_error_says_how_many_were_left_out(tmp_path):
    raw = rows_in(tmp_path, ("何が?", ["は"], PASSAGE), ("どこ?", ["箱根"], PASSAGE))
    with pytest.raises(DataError, match="Of 2 rows: chunk_chars removed 2"):
        write_table(tmp_path / "pairs", SCHEMAS["pairs"], pair_parts(source(chunk_chars=30), raw))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"kind": "title_to_text"}, "the kind title_to_text has no answers"),
        ({"kind": "question", "collection": "faq"}, "the kind question has no answers"),
        ({"fields": {"answers": None}}, "with fields.answers: null nothing says"),
        ({"chunk_chars": 0}, "chunk_chars"),
    ],
)
def test_what_cannot_be_cut_is_refused(row, said):
    with pytest.raises(RecipeError, match=said):
        source(**{"chunk_chars": 30, **row})
