"""The pipeline `ablations` on a cut of the shipped corpus, through the command line, as a user runs it."""

import json
import sqlite3
import time
from pathlib import Path

import pytest
from cut_project import kedro, make_cut_project, run_kedro

from ruri_kedro.text.pages import without_pictures

ARGUMENTS = (
    "run",
    "--env",
    "cut",
    "--pipelines",
    "ablations",
    "--params",
    "ablations.only=table6 table13,ablations.seeds=42",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return make_cut_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def output(project) -> str:
    return run_kedro(project, *ARGUMENTS)


def scores(project: Path) -> dict:
    newest = sorted((project / "data/08_reporting/cut/versions/ablations.json").glob("*/ablations.json"))[-1]
    return json.loads(newest.read_text("utf-8"))


def steps(project: Path) -> dict[str, float]:
    """Time of the manifest of each step, by its folder."""
    folders = (project / "data/07_model_output/cut/versions/ablations").glob("*/manifest.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in folders}


@pytest.mark.slow
def test_one_command_leaves_tables_a_plot_and_a_run_per_cell(project, output):
    assert "## Table 6: the two stages of the reranker" in output and "| stage 2 only |" in output
    reporting = project / "data/08_reporting/cut/versions"
    assert without_pictures((reporting / "ablations.md").read_text("utf-8")) in output
    assert "data:image/png;base64," in (reporting / "ablations.html").read_text("utf-8")
    assert (reporting / "ablations.png").stat().st_size > 10_000
    assert {cell for table in scores(project).values() for cell in table} == {
        "stage1", "stage2", "both", "pt", "without",
    }  # fmt: skip
    trained = [name.rpartition("-")[0] for name in steps(project)]
    assert trained.count("pretrain") == 1 and trained.count("train_reranker_stage1") == 2
    assert trained.count("finetune") == 2
    with sqlite3.connect(project / "mlflow.db") as store:
        runs = dict(store.execute("select name, run_uuid from runs"))
        parent = runs["cut: ablations"]
        below = store.execute("select count(*) from tags where key='mlflow.parentRunId' and value=?", [parent])
        assert below.fetchone()[0] == 6
        logged = dict(store.execute("select key, value from latest_metrics where run_uuid=?",
                                    [runs["table6/stage1, seed 42"]]))  # fmt: skip
    assert (
        logged["scores/questions_rerank/ndcg_at_10"]
        == scores(project)["table6"]["stage1"]["42"]["questions_rerank/ndcg@10"]
    )
    assert "reranking_stage1/loss" in logged


@pytest.mark.slow
def test_a_second_run_does_no_step(project, output):
    before, found = steps(project), scores(project)
    said = run_kedro(project, *ARGUMENTS)
    assert steps(project) == before and scores(project) == found
    assert said.count("0 steps to do") == 6


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_figures(project, output, tmp_path):
    killed = make_cut_project(tmp_path)
    process = kedro(killed, *ARGUMENTS)
    deadline = time.monotonic() + 300
    while not any(name.startswith("pretrain-") for name in steps(killed)) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    before = steps(killed)
    assert before, "something was done"
    run_kedro(killed, *ARGUMENTS)
    assert scores(killed) == scores(project)
    assert {name: steps(killed)[name] for name in before} == before, "what was done is not done again"
