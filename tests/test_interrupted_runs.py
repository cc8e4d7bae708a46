"""`kedro run` that is interrupted or killed: what MLflow says of it, and what the terminal does."""

import os
import signal
import subprocess
from functools import partial

import pytest
from kedro_project import KEDRO, make_project

WAITING = """

def wait(recipe):
    import time

    from ruri_kedro.registry.runs.child_runs import child_run

    with child_run("a cell", {}):
        print("waiting", flush=True)
        time.sleep(600)


def register_pipelines(others=register_pipelines):
    return {**others(), "waiting": Pipeline([Node(func=wait, inputs="params:recipe", outputs="waited", name="wait")])}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = make_project(tmp_path_factory.mktemp("interrupted"))
    with (root / "src/tiny_project/pipeline_registry.py").open("a", encoding="utf-8") as registry:
        registry.write(WAITING)
    return root


def kedro(project, *arguments: str) -> subprocess.Popen:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    usual = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background commands ignore it
    return subprocess.Popen([KEDRO, "run", *arguments], cwd=project, env={**own, "COLUMNS": "200"}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=usual)  # fmt: skip


def interrupt(project, number: int) -> tuple[int, str]:
    """Send a signal to a run that waits in its node; gives how it ended and what it said on stderr."""
    process = kedro(project, "--pipelines", "waiting", "--params", "recipe=other")
    try:
        assert any(line == "waiting\n" for line in process.stdout)
        process.send_signal(number)
        said = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    return process.returncode, said


def statuses(project) -> list[tuple[str, str]]:
    """Name and status of every run, the newest last."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ruri").experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
    return [(run.info.run_name, run.info.status) for run in runs]


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 1), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_an_interrupted_run_says_how_to_go_on(project, number, code):
    returned, said = interrupt(project, number)
    assert returned == code and "Traceback" not in said
    assert said.endswith(
        "Interrupted. What is finished stays. To continue: kedro run --pipelines waiting --params recipe=other\n"
    )
    assert statuses(project)[-2:] == [("other: waiting", "KILLED"), ("a cell", "KILLED")]


@pytest.mark.slow
def test_the_next_run_mends_what_was_killed(project):
    assert interrupt(project, signal.SIGKILL)[0] == -signal.SIGKILL
    assert statuses(project)[-2:] == [("other: waiting", "RUNNING"), ("a cell", "RUNNING")]
    process = kedro(project)
    assert process.wait(timeout=300) == 0, process.stderr.read()
    assert statuses(project)[-3:] == [("other: waiting", "KILLED"), ("a cell", "KILLED"), ("tiny: all", "FINISHED")]
