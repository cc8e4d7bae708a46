"""Judgments are a task that the recipe can read, and votes are counted with a sign test."""

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from scipy.stats import binom
from service import start

from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.cli import cli
from ruri_kedro.service.app import create_app
from ruri_kedro.service.blind import BlindVotes
from ruri_kedro.service.judgments import Judgments


@pytest.fixture
def judging(folders, tmp_path):
    with TestClient(create_app(start(tmp_path, folders / "embedder", folders / "other"))) as client:
        yield client


def judge(client, query, docid, relevance):
    body = {"query": query, "docid": docid, "relevance": relevance}
    answer = client.post("/judgments", json=body)
    assert answer.status_code == 200
    return answer.json()["qid"]


def test_judgments_become_a_task_and_qrels_that_score_runs_reads(judging, tmp_path):
    qid = judge(judging, "東京の　駅", "d0", 1)
    assert judge(judging, "東京の 駅", "d1", 0) == qid
    judge(judging, "京都\tの寺", "d2", 0)  # without a relevant document it is no query of the task
    judge(judging, "札幌", "d3", 1)
    judge(judging, "札幌", "d3", None)
    folder = tmp_path / "judgments/documents.jsonl"
    assert (folder / "task/qrels.tsv").read_text("utf-8") == f"{qid}\t0\td0\t1\n{qid}\t0\td1\t0\n"
    row = {"type": "retrieval", "shape": "topics", "path": "task",
           "corpus": {"shape": "corpus", "path": "corpus.jsonl.gz"}}  # fmt: skip
    task = load_task("judged", row, folder)
    assert task.queries == {qid: "東京の 駅"} and task.qrels == {qid: {"d0": 1}}
    assert list(task.corpus) == [f"d{number}" for number in range(len(task.corpus))]

    runs = tmp_path / "runs"
    runs.mkdir()
    hits = judging.post("/search", json={"query": "東京の 駅", "k": 20, "systems": ["dense"]}).json()["rankings"][0][
        "hits"
    ]
    lines = (f"{qid} Q0 {hit['docid']} {hit['rank']} {hit['score']} dense\n" for hit in hits)
    (runs / "dense.trec").write_text("".join(lines), "utf-8")
    command = ["ruri", "score-runs", "--runs", str(runs), "--qrels", str(folder / "task/qrels.tsv"), "--out",
               str(tmp_path / "scores.json")]  # fmt: skip
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0 and "dense" in result.output


def test_judgments_are_there_after_a_restart_and_a_killed_write(judging, tmp_path, folders):
    judge(judging, "駅", "d0", 1)
    log = tmp_path / "judgments/documents.jsonl/judgments.log"
    with log.open("a", encoding="utf-8") as handle:
        handle.write('{"query": "駅", "docid": "d9", "rele')
    documents = start(tmp_path, folders / "embedder").deployment.documents
    again = Judgments(log.parent, documents)
    assert again.of("駅") == {"d0": 1}
    again.judge("駅", "d1", 0)
    assert Judgments(log.parent, documents).of("駅") == {"d0": 1, "d1": 0}
    assert judging.post("/search", json={"query": "駅"}).json()["judgments"] == {"d0": 1, "d1": 0}


def test_blind_comparison(judging):
    labels = []
    for _ in range(12):
        found = judging.post("/blind", json={"query": "東京の駅", "k": 3}).json()
        assert found.keys() == {"id", "query", "left", "right", "documents"}  # and no name of a model
        voted = judging.post("/blind/vote", json={"id": found["id"], "choice": "left"}).json()
        labels.append(voted["left"])
        assert judging.post("/blind/vote", json={"id": found["id"], "choice": "left"}).status_code == 404
    assert set(labels) == {"embedder", "other"}  # of 12 draws; one label only has a chance of 1 in 2,048
    assert voted["wins"] == {label: labels.count(label) for label in ("embedder", "other")} and voted["ties"] == 0


def test_the_sign_test_is_exact_and_leaves_ties_out(tmp_path):
    votes = BlindVotes(tmp_path / "votes.log")
    for wanted in (*["a"] * 9, "b", None, None):
        key, order = votes.begin("駅", ("a", "b"))
        choice = "tie" if wanted is None else ("left", "right")[order.index(wanted)]
        counted = votes.vote(key, choice)
    assert counted["wins"] == {"a": 9, "b": 1} and counted["ties"] == 2
    assert counted["p"] == pytest.approx(2 * binom.cdf(1, 10, 0.5))
    assert votes.count(("a", "c"))["p"] == 1.0


def test_two_models_are_needed(folders, tmp_path):
    with TestClient(create_app(start(tmp_path, folders / "embedder"))) as client:
        refused = client.post("/blind", json={"query": "駅"})
    assert refused.status_code == 400 and "--with" in refused.json()["error"]["message"]
