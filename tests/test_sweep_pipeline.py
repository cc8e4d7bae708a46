"""The pipeline `sweep` on tiny models, through the command line, as a user runs it."""

import json
import sqlite3
import time
from pathlib import Path

import pandas as pd
import pytest
from cut_project import kedro, run_kedro
from sweep_project import make_sweep_project

ARGUMENTS = ("run", "--env", "swept", "--pipelines", "sweep")
REPORTING = "data/08_reporting/swept/versions"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return make_sweep_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def output(project) -> str:
    return run_kedro(project, *ARGUMENTS)


def runs(project: Path) -> dict:
    newest = sorted((project / REPORTING / "sweep.json").glob("*/sweep.json"))[-1]
    return json.loads(newest.read_text("utf-8"))


def figures(project: Path) -> dict:
    """What does not depend on the clock."""
    return {part: [{key: row[key] for key in row if key != "seconds"} for row in rows]
            for part, rows in runs(project).items()}  # fmt: skip


def report(project: Path) -> str:
    return (project / REPORTING / "sweep.md").read_text("utf-8").partition("## Cost")[0]


def done(project: Path) -> dict[str, int]:
    folders = (project / "data/07_model_output/swept/versions/sweep").glob("*/manifest.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in folders}


def test_one_command_leaves_a_report_and_a_run_for_each_cell(project, output):
    found = runs(project)
    trained = [row for row in found["runs"] if row["trained"]]
    assert len(trained) == 8 and not any(row["reason"] for row in found["runs"])
    assert {(row["values"]["set"], row["seed"]) for row in trained} == {
        (s, n) for s in ("nli", "lines") for n in (1, 2)
    }
    assert all({"best-dev", "best-step", "test/spearman", "avg"} == set(row["figures"]) for row in trained)
    assert len(found["chosen"]) == 6 and all("long/spearman" in row["figures"] for row in found["chosen"])
    table, best = (pd.read_csv(project / REPORTING / name) for name in ("sweep.csv", "sweep_best.csv"))
    assert len(table) == 4 and (table["count"] == 2).all() and len(best) == 2
    highest = table.loc[table.groupby("set")["best-dev"].idxmax()].set_index("set")["finetuning.learning_rate"]
    assert best.set_index("set")["finetuning.learning_rate"].sort_index().equals(highest.sort_index())
    text = (project / REPORTING / "sweep.md").read_text("utf-8")
    assert "## Best cells" in text and "± " in text and ("nli - lines" in text or "lines - nli" in text)
    assert "texts or pairs of sentences" in text and "| nli - untrained | long/spearman |" in text
    assert "untrained" in text and "## Cost" in text
    assert "<table>" in (project / REPORTING / "sweep.html").read_text("utf-8")
    assert (project / REPORTING / "sweep_maps.svg").is_file(), "one setting is searched, so there is no map in it"
    steps = [name.rpartition("-")[0] for name in done(project)]
    assert steps.count("finetune") == 8 and steps.count("make_base_model") == 2, "what cells share is done once"
    assert steps.count("read_tasks") == 1 and steps.count("mining_supervised.choose_finetuning_examples") == 2
    with sqlite3.connect(project / "mlflow.db") as store:
        names = dict(store.execute("select name, run_uuid from runs"))
        run = names["set=nli, finetuning.learning_rate=0.003, seed 2"]
        params = dict(store.execute("select key, value from params where run_uuid=?", [run]))
        metrics = dict(store.execute("select key, value from latest_metrics where run_uuid=?", [run]))
    assert params == {"seed": "2", "set": "nli", "finetuning.learning_rate": "0.003"}
    assert "scores/best-dev" in metrics and "finetuning/development/best_step" in metrics


def test_a_second_run_does_no_step(project, output):
    before, found = done(project), figures(project)
    run_kedro(project, *ARGUMENTS)
    assert done(project) == before and figures(project) == found


def kill_behind_trainings(project, count):
    """Start the sweep and kill it when so many trainings are done."""
    process = kedro(project, *ARGUMENTS)
    deadline = time.monotonic() + 300
    while sum(name.startswith("finetune-") for name in done(project)) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()


def test_a_killed_sweep_ends_with_the_same_report(project, output, tmp_path):
    killed = make_sweep_project(tmp_path)
    for trained in (1, 4):
        kill_behind_trainings(killed, trained)
    before = done(killed)
    assert 0 < sum(name.startswith("finetune-") for name in before) < 8
    run_kedro(killed, *ARGUMENTS)
    assert figures(killed) == figures(project) and report(killed) == report(project)
    assert {name: done(killed)[name] for name in before} == before, "what was done is not done again"


def test_a_cell_that_fails_is_recorded_and_the_others_go_on_in_processes_of_their_own(project, output, tmp_path):
    grid = {"set": ["nli", "lines"], "finetuning.batch_size": [8, 65]}
    failing = make_sweep_project(tmp_path, grid=grid, seeds=[1], workers=2, chosen_tasks=[])
    run_kedro(failing, *ARGUMENTS)
    rows = {row["cell"]: row for row in runs(failing)["runs"] if row["trained"]}
    reasons = {cell: row["reason"] for cell, row in rows.items() if row["reason"]}
    assert set(reasons) == {"set=lines, finetuning.batch_size=65"}, "of nli, which has fewer pairs, a batch is smaller"
    assert all("Raise max_examples, or lower batch_size" in reason for reason in reasons.values())
    assert "seed 1: failed. TrainingError: " in (failing / REPORTING / "sweep.md").read_text("utf-8")
    assert len(pd.read_csv(failing / REPORTING / "sweep_best.csv")) == 2
    with sqlite3.connect(failing / "mlflow.db") as store:
        states = dict(store.execute("select name, status from runs"))
    assert states["set=lines, finetuning.batch_size=65, seed 1"] == "FAILED"
    assert states["set=nli, finetuning.batch_size=8, seed 1"] == "FINISHED"


SEARCHED = {
    "grid": {"set": ["nli"]},
    "search": {
        "trials": 6,
        "startup_trials": 2,
        "pruner": {"name": "median", "startup_trials": 2, "warmup": 1},
        "ranges": {"finetuning.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
                   "finetuning.batch_size": {"choices": [8, 16]}},
    },
}  # fmt: skip


def test_a_search_trains_trials_tests_the_best_and_ends_the_same_after_kills(tmp_path):
    whole, killed = (make_sweep_project(tmp_path / name, **SEARCHED) for name in ("whole", "killed"))
    run_kedro(whole, *ARGUMENTS)
    trials, chosen = runs(whole)["runs"], runs(whole)["chosen"]
    assert len(trials) == 6 and {row["seed"] for row in trials} == {1}
    pruned = [row for row in trials if row["state"].startswith("pruned")]
    assert pruned and not any(row["figures"] or row["reason"] for row in pruned)
    assert all(set(row["figures"]) == {"best-dev", "best-step"} for row in trials if row not in pruned)
    assert [row["seed"] for row in chosen if row["trained"]] == [1, 2] and not any(row["reason"] for row in chosen)
    assert all("long/spearman" in row["figures"] and "test/spearman" in row["figures"] for row in chosen)
    best = max((row for row in trials if row["figures"]), key=lambda row: row["figures"]["best-dev"])
    assert {row["cell"] for row in chosen if row["trained"]} == {best["cell"]}
    with sqlite3.connect(whole / "mlflow.db") as store:
        names = dict(store.execute("select name, run_uuid from runs"))
        run = names[f"trial {pruned[0]['trial']}: {pruned[0]['cell']}, seed 1"]
        tags = dict(store.execute("select key, value from tags where run_uuid=?", [run]))
        assert tags["trial"] == pruned[0]["state"]
        assert store.execute("select status from runs where run_uuid=?", [run]).fetchone() == ("FINISHED",)
    with sqlite3.connect(whole / "data/07_model_output/swept/versions/sweep/search/optuna.db") as store:
        states = [state for (state,) in store.execute("select state from trials")]
    assert states.count("PRUNED") == len(pruned) and states.count("COMPLETE") == 6 - len(pruned)
    assert "Left: 0." in run_kedro(whole, *ARGUMENTS, "--params", "dry_run=true")
    for trained in (1, 3):
        kill_behind_trainings(killed, trained)
    assert "Left: 0." not in run_kedro(killed, *ARGUMENTS, "--params", "dry_run=true")
    run_kedro(killed, *ARGUMENTS)
    assert figures(killed) == figures(whole) and report(killed) == report(whole)


def test_ray_gives_the_same(project, output, tmp_path):
    pytest.importorskip("ray")
    other = make_sweep_project(tmp_path, workers=2)
    run_kedro(other, *ARGUMENTS, "--params", "engine=ray")
    assert figures(other) == figures(project) and report(other) == report(project)
