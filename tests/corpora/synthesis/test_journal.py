"""The journal keeps what was paid for, whatever happens to the run."""

import json
import logging
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.corpora.synthesis.chat import Answer
from ruri_kedro.corpora.synthesis.journal import Journal
from ruri_kedro.errors import DataError

ANSWER = Answer("富士山\n\u2028二行目", "stop", 12, 3)


def test_answers_are_there_in_the_next_run(tmp_path):
    path = tmp_path / "deep" / "journal.jsonl"
    with Journal(path) as journal:
        journal.add("a", ANSWER)
        journal.add("b", Answer("", "length", 1, 2))
        assert journal["a"] == ANSWER and "c" not in journal
    with Journal(path) as journal:
        assert journal["a"] == ANSWER and journal["b"].finish == "length" and len(journal) == 2
        journal.add("c", ANSWER)
        assert journal["b"].text == "" and journal["c"] == ANSWER


@settings(max_examples=30, deadline=None)  # every answer is synced to disk
@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.data())
def test_a_journal_cut_anywhere_keeps_every_whole_line(tmp_path_factory, texts, data):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with Journal(path) as journal:
        for number, text in enumerate(texts):
            journal.add(str(number), Answer(text, "stop", 1, 1))
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    with Journal(path) as journal:
        assert len(journal) == kept
        journal.add("new", ANSWER)
    with Journal(path) as journal:
        assert len(journal) == kept + 1 and journal["new"] == ANSWER
        assert [journal[str(n)].text for n in range(kept)] == texts[:kept]


def test_a_row_that_is_no_answer_is_passed_over_and_named(tmp_path, caplog):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.add("a", ANSWER)
    path.write_bytes(b'{"key": "x", "text": 1}\nnonsense\n[1]\n' + path.read_bytes())
    with caplog.at_level(logging.WARNING), Journal(path) as journal:
        assert len(journal) == 1 and journal["a"] == ANSWER
    assert [f"row {number}" in record.message for number, record in enumerate(caplog.records, start=1)] == [True] * 3


def test_what_no_file_can_hold_is_replaced(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.add("a", Answer("山\ud800", "stop", 1, 1))
        assert journal["a"].text == "山?"


def test_one_run_at_a_time(tmp_path):
    with Journal(tmp_path / "j"), pytest.raises(DataError, match=r"another run is writing.*synthesis\.journal"):
        Journal(tmp_path / "j").__enter__()
    with Journal(tmp_path / "j") as journal:
        assert len(journal) == 0


def test_many_threads_write_whole_lines(tmp_path):
    with Journal(tmp_path / "j") as journal:

        def write(thread: int) -> None:
            for n in range(20):
                journal.add(f"{thread}-{n}", Answer("長い答え" * 100, "stop", thread, n))
                assert journal[f"{thread}-{n}"].completion_tokens == n

        threads = [threading.Thread(target=write, args=[n]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / "j").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len({row["key"] for row in rows}) == len(rows) == 160
