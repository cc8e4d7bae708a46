"""Runs: TREC files, and the order that trec_eval gives them."""

import gzip

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.benchmark.runs import ranked, read_qrels, read_run, write_qrels, write_run
from ruri_kedro.errors import DataError

ids = st.text("abz019_-日ア𠮷", min_size=1, max_size=4)
# Steps below single precision make ties that a comparison in double precision does not see.
scores = st.one_of(st.floats(-1e6, 1e6), st.integers(0, 3).map(float), st.integers(0, 4).map(lambda n: 1 + n * 2e-8))
runs = st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1, max_size=8), max_size=4)


@given(run=runs, suffix=st.sampled_from(["run.trec", "run.trec.gz"]))
def test_a_run_is_read_as_it_was_written(run, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / suffix
    write_run(path, run, "bm25")
    assert read_run(path) == run
    assert [list(found) for found in read_run(path).values()] == [ranked(given) for given in run.values()]


judgments = st.dictionaries(ids, st.dictionaries(ids, st.integers(-1, 3), min_size=1, max_size=8), max_size=4)


@given(qrels=judgments, suffix=st.sampled_from(["qrels.trec", "qrels.trec.gz"]))
def test_judgments_are_read_as_they_were_written(qrels, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("qrels") / suffix
    write_qrels(path, qrels)
    assert read_qrels(path) == qrels


def test_a_run_file_has_the_columns_of_trec(tmp_path):
    write_run(tmp_path / "run.trec", {"q1": {"a": 0.5, "b": 2.0}}, "bm25")
    assert (tmp_path / "run.trec").read_text() == "q1 Q0 b 1 2.0 bm25\nq1 Q0 a 2 0.5 bm25\n"


def test_numpy_scores_are_written_as_plain_numbers(tmp_path):
    write_run(tmp_path / "run.trec", {"q1": {"a": np.float32(0.5)}}, "x")
    assert (tmp_path / "run.trec").read_text() == "q1 Q0 a 1 0.5 x\n"


def test_the_same_run_gives_the_same_bytes_at_any_time(tmp_path, monkeypatch):
    for name, now in (("one.gz", 1e9), ("two.gz", 2e9)):
        monkeypatch.setattr("gzip.time.time", lambda now=now: now)
        write_run(tmp_path / name, {"q1": {"a": 0.5}}, "x")
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


@given(st.dictionaries(ids, scores, min_size=1, max_size=8))
def test_ranked_is_the_order_of_trec_eval(documents):
    found = {}
    for docid in documents:
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {docid: 1}}, {"recip_rank"})
        found[docid] = round(1 / evaluator.evaluate({"q": documents})["q"]["recip_rank"])
    assert ranked(documents) == sorted(found, key=found.__getitem__)


def test_equal_scores_stand_by_docid_descending():
    assert ranked({"a": 1.0, "c": 1.0, "b": 1.0 + 1e-10, "z": 0.5}) == ["c", "b", "a", "z"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q1 Q0 a 1 0.5\n", r"run\.trec, row 1: 5 columns, expected 6"),
        ("q1 Q0 a 1 0.5 x\n\nq1 Q0 b 1 high x\n", r"run\.trec, row 3, column 'score': 'high'"),
        ("q1 Q0 a 1 nan x\n", r"run\.trec, row 1, column 'score': 'nan'"),
        ("q1 Q0 a 1 0.5 x\nq1 Q0 a 2 0.4 x\n", r"run\.trec, row 2: query 'q1' has document 'a' twice"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    (tmp_path / "run.trec").write_text(content)
    with pytest.raises(DataError, match=message):
        read_run(tmp_path / "run.trec")


def test_a_bad_judgment_is_named(tmp_path):
    (tmp_path / "qrels.trec").write_text("q1 0 a 1\nq1 0 b yes\n")
    with pytest.raises(DataError, match=r"qrels\.trec, row 2, column 'relevance': 'yes'"):
        read_qrels(tmp_path / "qrels.trec")


def test_judgments_that_trec_cannot_hold_are_named(tmp_path):
    with pytest.raises(DataError, match=r"qrels\.trec, column 'docid': 'a b'"):
        write_qrels(tmp_path / "qrels.trec", {"q1": {"a b": 1}})


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.trec: no such file"):
        read_run(tmp_path / "gone.trec")
    (tmp_path / "cut.trec.gz").write_bytes(gzip.compress(b"q1 Q0 a 1 0.5 x\n" * 9)[:-12])
    with pytest.raises(DataError, match=r"cut\.trec\.gz, after row \d+: the gzip stream is broken"):
        read_run(tmp_path / "cut.trec.gz")
    (tmp_path / "sjis.trec").write_bytes("q1 Q0 日本 1 0.5 x\n".encode("shift_jis"))
    with pytest.raises(DataError, match=r"sjis\.trec, row 1: byte 6 is not UTF-8"):
        read_run(tmp_path / "sjis.trec")


@pytest.mark.parametrize(
    ("run", "tag", "message"),
    [
        ({"q 1": {"a": 0.5}}, "x", "column 'qid': 'q 1'"),
        ({"q1": {"": 0.5}}, "x", "column 'docid': ''"),
        ({"q1": {"a": 0.5}}, "my model", "column 'tag': 'my model'"),
        ({"q1": {"a": float("nan")}}, "x", "query 'q1', document 'a': the score is nan"),
    ],
)
def test_a_run_that_trec_cannot_hold_leaves_the_old_file(tmp_path, run, tag, message):
    path = tmp_path / "run.trec"
    write_run(path, {"q1": {"a": 1.0}}, "x")
    with pytest.raises(DataError, match=message):
        write_run(path, run, tag)
    assert read_run(path) == {"q1": {"a": 1.0}}
    assert [file.name for file in tmp_path.iterdir()] == ["run.trec"]
