"""Folders of TREC runs: the figures published for JQaRA, and what a folder may do wrong."""

import gzip
import json
from pathlib import Path
from statistics import fmean

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.benchmark.metrics import retrieval_scores
from ruri_kedro.benchmark.runs import in_file_order, ranked, read_run, write_run
from ruri_kedro.benchmark.scoring.trec import score_runs
from ruri_kedro.cli.commands import cli
from ruri_kedro.errors import DataError

# The table of the JQaRA repository: nDCG@10 and MRR@10.
PUBLISHED = {
    "bm25": (0.458, 0.702),
    "sup-simcse-ja-base": (0.3237, 0.5407),
    "fio-base-japanese-v0.1": (0.3718, 0.6161),
    "multilingual-e5-small": (0.4917, 0.7291),
    "JaColBERT": (0.5488, 0.8116),
    "ruri-small": (0.5359, 0.7661),
    "ruri-base": (0.5833, 0.8093),
    "ruri-large": (0.6287, 0.8418),
    "ruri-reranker-small": (0.6453, 0.8637),
}

QRELS = "q1 0 a 1\nq1 0 b 0\nq2 0 b 1\nq3 0 c 1\n"
RUN = "q1 Q0 a 1 0.9 x\nq1 Q0 b 2 0.8 x\nq2 Q0 b 1 0.7 x\nq3 Q0 c 1 0.5 x\n"


def command(*arguments: object):
    return CliRunner().invoke(cli, ["ruri", "score-runs", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder `runs` with one run, and its judgments beside it."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/good.trec").write_text(RUN)
    (tmp_path / "qrels.trec").write_text(QRELS)
    return tmp_path


def score(folder: Path, *arguments: object):
    """The command on that folder."""
    out = folder / "scores.json"
    return command("--runs", folder / "runs", "--qrels", folder / "qrels.trec", "--out", out, *arguments)


def test_jqara_runs_have_their_published_figures(shared_data, tmp_path):
    jqara, out = shared_data / "jqara", tmp_path / "scores.json"
    done = command("--runs", jqara / "runs", "--qrels", jqara / "qrels.trec.gz", "--out", out)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert found == {
        name: {"ndcg@10": pytest.approx(ndcg, abs=6e-4), "mrr@10": pytest.approx(mrr, abs=6e-4)}
        for name, (ndcg, mrr) in PUBLISHED.items()
    }


def test_systems_far_apart_are_told_apart_and_the_same_are_not(shared_data, tmp_path):
    (tmp_path / "runs").mkdir()
    for name, source in (("bm25", "bm25"), ("again", "bm25"), ("large", "ruri-large")):
        run = read_run(shared_data / "jqara/runs" / f"{source}.trec.gz")
        write_run(tmp_path / f"runs/{name}.trec.gz", run, name)
    out = tmp_path / "scores.json"
    qrels = shared_data / "jqara/qrels.trec.gz"
    done = command("--runs", tmp_path / "runs", "--qrels", qrels, "--out", out, "--compare", "bm25")
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "scores.comparison.json").read_text())["comparisons"]
    assert {(row["model"], row["metric"]): row["p_holm"] <= 0.05 for row in results} == {
        ("again", "ndcg@10"): False,
        ("again", "mrr@10"): False,
        ("large", "ndcg@10"): True,
        ("large", "mrr@10"): True,
    }
    assert "large against bm25" in (tmp_path / "scores.comparison.html").read_text("utf-8")


ids = st.text("abz09日", min_size=1, max_size=3)
tied = st.dictionaries(ids, st.sampled_from([1.0, 1 + 1e-9, 0.5, -2.0]), min_size=1, max_size=8)


@given(st.dictionaries(ids, tied, max_size=3))
def test_equal_scores_keep_the_order_of_the_file(run):
    for qid, scores in in_file_order(run).items():
        assert ranked(scores) == sorted(run[qid], key=lambda docid: -round(run[qid][docid], 6))


@given(st.dictionaries(ids, tied, min_size=1, max_size=3), st.sets(ids))
def test_a_run_that_this_package_wrote_has_the_scores_that_it_was_evaluated_with(run, relevant):
    qrels = {qid: {docid: int(docid in relevant) for docid in scores} for qid, scores in run.items()}
    written = {qid: {docid: scores[docid] for docid in ranked(scores)} for qid, scores in run.items()}
    assert retrieval_scores(qrels, in_file_order(written)) == retrieval_scores(qrels, run)


def test_ties_stand_as_in_the_file(folder):
    (folder / "runs/good.trec").write_text("q1 Q0 b 1 0.5 x\nq1 Q0 a 2 0.5 x\n")
    (folder / "runs/turned.trec").write_text("q1 Q0 a 1 0.5 x\nq1 Q0 b 2 0.5 x\n")
    found = score_runs(folder / "runs", folder / "qrels.trec", ["mrr@10"])
    assert {name: run.scores["mrr@10"]["q1"] for name, run in found.items()} == {"good": 0.5, "turned": 1.0}


def test_scores_and_not_the_rank_column_decide(folder):
    (folder / "runs/good.trec").write_text("q1 Q0 b 1 0.1 x\nq1 Q0 a 2 0.9 x\n")
    found = score_runs(folder / "runs", folder / "qrels.trec", ["mrr@10"])
    assert found["good"].scores["mrr@10"]["q1"] == 1.0


def test_a_judged_query_that_the_run_has_not_counts_zero(folder):
    (folder / "runs/good.trec").write_text("q1 Q0 a 1 0.9 x\n")
    done = score(folder)
    assert json.loads((folder / "scores.json").read_text()) == {"good": {"ndcg@10": 1 / 3, "mrr@10": 1 / 3}}
    assert "good: 2 judged queries missing (count 0), 0 not judged (left out)" in done.output


def test_a_query_without_judgments_is_left_out(folder):
    (folder / "runs/good.trec").write_text(RUN + "q9 Q0 a 1 0.9 x\n")
    done = score(folder)
    assert json.loads((folder / "scores.json").read_text()) == {"good": {"ndcg@10": 1.0, "mrr@10": 1.0}}
    assert "good: 0 judged queries missing (count 0), 1 not judged (left out)" in done.output


def test_plain_and_gzipped_runs_are_read_and_nothing_else(folder):
    (folder / "runs/packed.trec.gz").write_bytes(gzip.compress(RUN.encode(), mtime=0))
    (folder / "runs/notes.txt").write_text("not a run")
    (folder / "runs/.hidden.trec").write_text("not a run")
    assert list(score_runs(folder / "runs", folder / "qrels.trec", ["ndcg@10"])) == ["good", "packed"]


def test_the_judgments_may_lie_among_the_runs(folder):
    (folder / "runs/qrels.trec").write_text(QRELS)
    assert list(score_runs(folder / "runs", folder / "runs/qrels.trec", ["ndcg@10"])) == ["good"]


def test_other_metrics_are_had_by_name(folder):
    done = score(folder, "--metric", "recall@1", "--metric", "map@5")
    assert json.loads((folder / "scores.json").read_text()) == {"good": {"recall@1": 1.0, "map@5": 1.0}}
    assert "recall@1" in done.output


def test_the_mean_is_over_all_judged_queries(folder):
    run = score_runs(folder / "runs", folder / "qrels.trec", ["ndcg@10"])["good"]
    assert run.means()["ndcg@10"] == fmean(run.scores["ndcg@10"].values())
    assert list(run.scores["ndcg@10"]) == ["q1", "q2", "q3"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.trec", b"q1 Q0 a 1 0.5\n", "bad.trec, row 1: 5 columns, expected 6"),
        ("bad.trec", b"q1 Q0 a 1 0.5 x\n\nq1 Q0 b 2 high x\n", "bad.trec, row 3, column 'score': 'high'"),
        ("bad.trec", b"q1 Q0 a 1 0.5 x\nq1 Q0 a 2 0.4 x\n", "bad.trec, row 2: query 'q1' has document 'a' twice"),
        ("bad.trec", b"", "bad.trec: no row in this file"),
        ("bad.trec", b"q9 Q0 a 1 0.5 x\n", "bad.trec: none of its queries (for example 'q9') is judged in"),
        ("bad.trec", "質問 Q0 a 1 0.5 x\n".encode("shift_jis"), "bad.trec, row 1: byte 0 is not UTF-8"),
        ("bad.trec.gz", gzip.compress(RUN.encode(), mtime=0)[:-12], "bad.trec.gz, after row"),
        ("bad.trec.gz", RUN.encode(), "bad.trec.gz, after row 0: the gzip stream is broken"),
        ("good.trec.gz", gzip.compress(RUN.encode(), mtime=0), "good.trec and good.trec.gz are both the run 'good'"),
    ],
)
def test_a_bad_run_is_one_error_and_leaves_the_old_scores(folder, name, content, message):
    (folder / "scores.json").write_text("old")
    (folder / "runs" / name).write_bytes(content)
    done = score(folder)
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    assert done.output.startswith("Error: ") and done.output.count("\n") == 1
    assert message in done.output
    assert (folder / "scores.json").read_text() == "old"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "precision@5"], "metric 'precision@5' is not known"),
        (["--compare", "gone"], "baseline 'gone': not among the models. There are: good."),
    ],
)
def test_a_wrong_option_is_one_error(folder, arguments, message):
    done = score(folder, *arguments)
    assert done.exit_code == 1 and message in done.output
    assert not (folder / "scores.json").exists()


def test_a_folder_without_runs_is_named(folder):
    (folder / "runs/good.trec").unlink()
    with pytest.raises(DataError, match=r"runs: no run in this folder\. Expected one of \*\.trec, \*\.trec\.gz"):
        score_runs(folder / "runs", folder / "qrels.trec", ["ndcg@10"])
    with pytest.raises(DataError, match="elsewhere: no such folder"):
        score_runs(folder / "elsewhere", folder / "qrels.trec", ["ndcg@10"])


def test_judgments_that_are_empty_or_gone_are_named(folder):
    (folder / "qrels.trec").write_text("")
    with pytest.raises(DataError, match=r"qrels\.trec: no judgment in this file"):
        score_runs(folder / "runs", folder / "qrels.trec", ["ndcg@10"])
    (folder / "qrels.trec").unlink()
    with pytest.raises(DataError, match=r"qrels\.trec: no such file"):
        score_runs(folder / "runs", folder / "qrels.trec", ["ndcg@10"])
