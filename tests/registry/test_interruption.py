"""Runs that were interrupted or killed are KILLED in MLflow, those that failed FAILED, and those alive go on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ruri_kedro.registry.runs import interruption, liveness
from ruri_kedro.registry.runs.child_runs import child_run

DEAD = "from ruri_kedro.registry.runs.liveness import this_process; print(this_process())"


@pytest.fixture(autouse=True)
def nothing_watched(monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", "{}")  # so that what is set here is taken back at the end
    # A shell's background commands ignore Ctrl-C, and what other tests have run may have handlers of its own.
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    interruption.release()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def dead_process() -> str:
    return subprocess.run([sys.executable, "-c", DEAD], capture_output=True, text=True, check=True).stdout.strip()


def status_of(*run_ids: str) -> list[str]:
    from mlflow.tracking import MlflowClient

    return [MlflowClient().get_run(run_id).info.status for run_id in run_ids]


@pytest.mark.parametrize(
    ("number", "error", "code"), [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143)]
)
def test_an_interrupted_run_and_those_below_it_are_killed(store, capsys, number, error, code):
    import mlflow

    before = signal.getsignal(number)
    run = mlflow.start_run()
    interruption.watch(run.info.run_id, "kedro run --env mini")
    with pytest.raises(error) as caught, child_run("a cell", {"seed": 1}) as child:
        os.kill(os.getpid(), number)
        time.sleep(5)  # the handler comes before this ends
    assert getattr(caught.value, "code", None) == code
    interruption.close_unfinished()
    assert status_of(run.info.run_id, child) == ["KILLED", "KILLED"] and mlflow.active_run() is None
    assert capsys.readouterr().err == "Interrupted. What is finished stays. To continue: kedro run --env mini\n"
    assert signal.getsignal(number) is before


def test_in_a_notebook_the_next_run_closes_the_one_that_was_interrupted(store):
    import mlflow

    run = mlflow.start_run()
    interruption.watch(run.info.run_id, "kedro run")
    interruption.close_interrupted()
    assert status_of(run.info.run_id) == ["RUNNING"], "one that goes on is left alone"
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    interruption.close_interrupted()
    assert status_of(run.info.run_id) == ["KILLED"]


def test_a_run_that_ends_in_an_error_outside_of_its_nodes_has_failed(store, capsys):
    import mlflow

    run = mlflow.start_run()
    interruption.watch(run.info.run_id, "kedro run")
    interruption.close_unfinished()
    assert status_of(run.info.run_id) == ["FAILED"] and capsys.readouterr().err == ""


def test_a_run_that_was_released_is_left_alone(store):
    import mlflow

    with mlflow.start_run() as run:
        interruption.watch(run.info.run_id, "kedro run")
        interruption.release()
        interruption.close_unfinished()
        assert status_of(run.info.run_id) == ["RUNNING"]
    assert status_of(run.info.run_id) == ["FINISHED"]


def test_the_next_run_closes_those_whose_process_is_dead(store, dead_process):
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("test").experiment_id
    machine, boot, space, pid, start = dead_process.split(":")
    alive = liveness.this_process()
    processes = {
        "killed": dead_process,
        "before the machine was started anew": f"{machine}:another:{space}:{pid}:{start}",
        "the number belongs to another process now": f"{machine}:{boot}:{space}:{os.getpid()}:1000",
        "alive": alive,
        "on another machine": f"another:{boot}:{space}:{pid}:{start}",
        "in another container": f"{machine}:{boot}:1:{pid}:{start}",
        "not readable": "what:is:this",
        "of an older release": None,
    }
    runs = {
        name: client.create_run(experiment, tags={} if process is None else {"process": process}).info.run_id
        for name, process in processes.items()
    }
    liveness.tag_with_process()
    own = client.create_run(experiment, tags={"process": alive}).info.run_id
    closed = interruption.close_dead(own)
    assert closed and set(closed) == {runs[name] for name in list(processes)[:3]}
    assert status_of(*runs.values(), own) == ["KILLED"] * 3 + ["RUNNING"] * 6


def test_a_run_has_its_process_from_the_first_write_on(store, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", '{"cluster": "a"}')
    liveness.tag_with_process()
    with mlflow.start_run() as run, child_run("a cell", {}) as child:
        for run_id in (run.info.run_id, child):
            tags = mlflow.get_run(run_id).data.tags
            assert tags["process"] == liveness.this_process() and tags["cluster"] == "a"
            assert not liveness.is_dead(tags["process"])
