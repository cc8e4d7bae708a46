"""A file of one's own in three parts, of which the test shares nothing with what is trained on."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.corpora.kinds import Draft, Text
from ruri_kedro.corpora.splitting import TEST, VALIDATION, split, write_documents, write_questions
from ruri_kedro.errors import DataError
from ruri_kedro.text.normalize import match_key

FILE = Path("faq.csv")
TASK = {"type": "retrieval", "shape": "queries", "path": "test.jsonl.gz",
        "corpus": {"shape": "corpus", "path": "passages.jsonl.gz"}}  # fmt: skip


def question(number, passage, title=""):
    return Draft(Text(f"文{passage}。", title), Text(f"問{number}か。"))


def keys(rows):
    return {match_key(row.anchor.text) for row in rows}


PAIRS = st.lists(
    st.builds(question, st.integers(0, 60), st.integers(0, 40), st.sampled_from(["", *map(str, range(12))])),
    min_size=20, max_size=120, unique=True,
)  # fmt: skip


@given(PAIRS, st.randoms())
def test_parts_hold_all_rows_once_and_share_no_title_passage_or_question_with_the_test(rows, random_):
    try:
        parts = split(FILE, rows)
    except DataError:
        return
    assert sorted(map(repr, parts.all)) == sorted(map(repr, rows))
    others = [*parts.train, *parts.validation]
    assert not keys(parts.test) & keys(others)
    alone = [row for row in parts.test if len({other.positive for other in rows if keys([other]) == keys([row])}) == 1]
    for part, rest in ((alone, others), (parts.validation, parts.train)):
        if parts.by == "title":
            assert not {row.positive.title for row in part} & {row.positive.title for row in rest} - {""}
        else:
            assert not {row.positive.text for row in part} & {row.positive.text for row in rest}
    shuffled = random_.sample(rows, len(rows))
    again = split(FILE, shuffled)
    assert [set(part) for part in (again.train, again.validation, again.test)] == [
        set(part) for part in (parts.train, parts.validation, parts.test)
    ]


def test_a_fifth_is_the_test_and_a_tenth_watches_the_training():
    rows = [question(number, number) for number in range(1000)]
    parts = split(FILE, rows)
    assert (len(parts.test), len(parts.validation)) == (1000 * TEST[0], 1000 * VALIDATION[0])
    many = split(FILE, [question(number, number) for number in range(8000)])
    assert (len(many.test), len(many.validation)) == (TEST[1], VALIDATION[1])


def test_a_title_that_most_questions_have_is_trained_on_and_questions_of_one_title_are_parted_by_passage():
    rows = [question(number, number, "大" if number < 60 else str(number)) for number in range(100)]
    parts = split(FILE, rows)
    assert parts.by == "title" and sum(row.positive.title == "大" for row in parts.train) == 60
    assert split(FILE, [question(number, number, "大") for number in range(100)]).by == "passage"


def test_what_cannot_be_parted_is_refused():
    with pytest.raises(DataError, match="too few rows, 19 that differ; 20 or more"):
        split(FILE, [question(number, number) for number in range(19)])
    with pytest.raises(DataError, match="too many of the 50 rows have the same title or passage"):
        split(FILE, [question(number, 1) for number in range(50)])
    with pytest.raises(DataError, match="too many of the 50 rows"):
        split(FILE, [Draft(Text(f"文{number}。", "大")) for number in range(50)])


def test_the_test_of_questions_has_all_passages_of_each_and_searches_all_there_are(tmp_path):
    rows = [question(number, number // 2, str(number // 2)) for number in range(100)]
    parts = split(FILE, rows)
    asked = parts.test[0]
    more = Draft(Text("別の文。", "別"), asked.anchor)
    parts = split(FILE, [*rows, more])
    write_questions(tmp_path / "split", parts)
    task = load_task("asked", TASK, tmp_path / "split")
    assert set(task.corpus.values()) == {row.positive.full for row in [*rows, more]}
    assert {task.queries[qid]: {task.corpus[docid] for docid in found} for qid, found in task.qrels.items()} == {
        row.anchor.text: {other.positive.full for other in [*rows, more] if other.anchor == row.anchor}
        for row in parts.test
    }


def test_the_test_of_documents_finds_texts_by_their_titles_which_are_not_in_them(tmp_path):
    rows = [Draft(Text(f"文{number}。", f"題{number // 2}")) for number in range(100)]
    random.Random(0).shuffle(rows)
    parts = split(FILE, rows)
    write_documents(tmp_path / "split", parts)
    task = load_task("titles", TASK, tmp_path / "split")
    assert set(task.corpus.values()) == {row.positive.text for row in rows}
    assert set(task.queries.values()) == {row.positive.title for row in parts.test}
    assert all(len(found) == 2 for found in task.qrels.values())
