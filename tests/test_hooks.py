"""The hooks, in a small project of their own: what is refused, what MLflow is told, and the last words."""

import errno
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from kedro.io import DatasetError
from kedro_project import KEDRO, make_project

from ruri_kedro.cli.project import project_context
from ruri_kedro.errors import DataError, RecipeError, RegistryError
from ruri_kedro.hooks.closing import ClosingHooks


@pytest.fixture(scope="module")
def module_project(tmp_path_factory) -> Path:
    return make_project(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def project(module_project, monkeypatch) -> Path:
    """The project as the working directory, known to Kedro, with the local store for tracking."""
    from kedro.framework.startup import bootstrap_project

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("KEDRO_ENV", raising=False)
    monkeypatch.chdir(module_project)
    monkeypatch.setattr(sys, "path", [*sys.path])
    bootstrap_project(module_project)
    return module_project


def run(project: Path, *pipelines: str, env: str | None = None, **params):
    from kedro.framework.session import KedroSession

    with KedroSession.create(project_path=project, env=env, runtime_params=params) as session:
        return session.run(pipeline_names=list(pipelines) or None)


def last_run():
    import mlflow

    (found,) = mlflow.search_runs(
        experiment_names=["ruri"], max_results=1, output_format="list", order_by=["start_time DESC"]
    )
    return found


def test_a_precision_that_is_left_to_the_machine_is_told_as_what_it_was(project, monkeypatch):
    monkeypatch.setattr("ruri_kedro.hooks.precision.fastest", lambda device: f"bfloat16 on {device}")
    recipe = project / "conf/left/parameters.yml"
    recipe.parent.mkdir()
    recipe.write_text("_settings: {precision: auto}\n", encoding="utf-8")
    assert project_context("left").params["_settings"]["precision"] == "bfloat16 on auto"
    run(project, env="left")
    shutil.rmtree(recipe.parent)
    assert last_run().data.tags["reproduce"] == "kedro run --env left --params '_settings.precision=bfloat16 on auto'"


def test_a_whole_run_leaves_its_evidence(project, capsys):
    run(project, _settings={"a": 3}, fail=False)
    found = last_run()
    assert found.info.status == "FINISHED" and found.info.run_name == "tiny: all"
    assert found.info.artifact_uri.startswith((project / "mlruns").as_uri())
    assert found.data.tags["recipe"] == "tiny"
    assert found.data.tags["reproduce"] == "kedro run --params _settings.a=3,fail=false"
    assert found.data.metrics["pretraining/loss"] == pytest.approx(1 / 3)
    assert found.data.metrics["metrics/ndcg_at_10/sample"] == 0.5
    inputs = {logged.dataset.name: logged for logged in found.inputs.dataset_inputs}
    assert set(inputs) == {"raw", "passages"}
    assert json.loads(inputs["passages"].dataset.profile) == {"num_rows": 2}
    assert inputs["raw"].tags[0].value == "data_engineering"
    import mlflow

    artifacts = mlflow.MlflowClient().list_artifacts(found.info.run_id)
    assert [file.path for file in artifacts] == ["report.md"]
    printed = capsys.readouterr().out
    assert "| tiny | 0.5 |" in printed
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db " in printed and "kedro viz run" in printed
    address = f"http://127.0.0.1:5000/#/experiments/{found.info.experiment_id}?workflowType=machine_learning"
    assert f"at {address}\n" in printed  # MLflow's other view shows no runs


def test_parameters_reach_mlflow_a_step_at_a_time(project, monkeypatch):
    """As kedro-mlflow names and cuts them, of two runs in one process each its own."""
    import mlflow

    alone = []
    monkeypatch.setattr(mlflow, "log_param", lambda name, value: alone.append((name, value)))
    run(project, fail=False)
    assert last_run().data.params == {"recipe": "tiny", "fail": "False"} and not alone
    with pytest.raises(RuntimeError, match="the training broke"):
        run(project, fail="長" * 7000)
    assert last_run().data.params == {"recipe": "tiny"}
    assert alone == [("fail", "長" * 6000)]  # MLflow takes no longer value; mlflow.yml says that it is cut


def test_a_copied_project_tracks_into_its_own_files(project, tmp_path, monkeypatch):
    from kedro.framework.startup import bootstrap_project

    run(project, "evaluation", "pretraining", "data_engineering", fail=False)
    before = {path: path.stat().st_mtime_ns for path in (project / "mlruns").rglob("*")}
    copy = shutil.copytree(project, tmp_path / "copy")
    monkeypatch.chdir(copy)
    bootstrap_project(copy)
    run(copy, fail=False)
    assert last_run().info.artifact_uri.startswith((copy / "mlruns").as_uri())
    assert list((copy / "mlruns").glob("*/artifacts/report.md"))
    assert {path: path.stat().st_mtime_ns for path in (project / "mlruns").rglob("*")} == before


def test_kedro_viz_is_told_the_size_of_tables_and_forgets_none(project):
    run(project, "data_engineering")
    file = project / ".viz/stats.json"
    passages = json.loads(file.read_text("utf-8"))["passages"]
    assert (passages["rows"], passages["columns"]) == (2, 5) and passages["file_size"] > 100
    run(project, "pretraining", fail=False)
    assert json.loads(file.read_text("utf-8"))["passages"] == passages
    file.write_text('{"passages": {"ro', encoding="utf-8")
    run(project, "pretraining", fail=False)
    assert "passages" not in json.loads(file.read_text("utf-8"))


def test_a_single_pipeline_names_its_successor(project, capsys):
    run(project, "data_engineering")
    assert capsys.readouterr().out.endswith("Next: kedro run --pipelines mining_pretraining\n")
    assert last_run().info.run_name == "tiny: data_engineering"


def test_an_environment_without_a_folder_is_refused(project):
    with pytest.raises(RecipeError, match=r"--env ohter: there is no folder .*conf/ohter\. There are: base, other\."):
        run(project, env="ohter")


def test_a_value_that_nothing_is_written_for_is_one_error(project):
    sizes = project / "conf/other/parameters_sizes.yml"
    sizes.write_text(
        "size: ${runtime_params:size,small}\n_sizes: {small: 1}\n_width: ${_sizes.${size}}\n", encoding="utf-8"
    )
    with pytest.raises(
        RecipeError, match=r"^--params size: Interpolation key '_sizes\.tiny' not found in the parameters\.$"
    ):
        run(project, env="other", size="tiny")
    sizes.unlink()


def test_a_run_with_missing_inputs_names_maker_and_command(project):
    run(project, "data_engineering")
    before = last_run().info.run_id
    shutil.rmtree(project / "data/03_primary")
    with pytest.raises(DataError) as caught:
        run(project, "pretraining", env="other", _settings={"a": 3})
    assert "passages: made by the pipeline 'data_engineering'. Run: kedro run --env other" in str(caught.value)
    assert "--pipelines data_engineering --params _settings.a=3" in str(caught.value)
    with pytest.raises(DataError, match=r"raw: .*/nowhere is not there. Restore it"):
        run(project, raw_root="nowhere")
    assert last_run().info.run_id == before  # refused runs are not tracked


def test_a_failed_training_is_tracked_to_its_last_step(project):
    with pytest.raises(RuntimeError, match="the training broke"):
        run(project, fail=True)
    found = last_run()
    assert found.info.status == "FAILED"
    assert found.data.metrics["pretraining/loss"] == pytest.approx(1 / 3)


def test_parameters_of_an_environment_are_merged_softly(project):
    run(project, env="other")
    assert last_run().data.tags["recipe"] == "other"
    assert last_run().data.params["recipe"] == "other"
    from kedro.framework.session import KedroSession

    with KedroSession.create(project_path=project, env="other") as session:
        assert session.load_context().params["_settings"] == {"a": 1, "b": {"c": "y"}}


def test_a_server_out_of_reach_stops_the_run_at_once(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(RegistryError, match=r"http://127.0.0.1:9 cannot be reached"):
        run(project)
    assert time.monotonic() - start < 20  # MLflow alone would take minutes


def test_a_login_in_the_servers_address_is_never_shown(project, monkeypatch, capsys, caplog):
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:geheim@127.0.0.1:9")
    with caplog.at_level("DEBUG"), pytest.raises(RegistryError) as caught:
        run(project)
    printed = capsys.readouterr()
    chain = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    shown = "".join([chain, printed.out, printed.err, caplog.text])
    assert "geheim" not in shown and "someone" not in shown


def test_from_a_folder_below_the_store_is_still_the_projects(project, monkeypatch):
    monkeypatch.chdir(project / "conf")
    run(project, "data_engineering")
    assert not (project / "conf" / "mlflow.db").exists() and not (project / "conf" / "mlruns").exists()


def test_errors_of_ours_reach_the_command_line_without_a_traceback(module_project):
    done = subprocess.run(
        [KEDRO, "run", "--params", "raw_root=nowhere"], cwd=module_project, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The run cannot start, data are missing.\n  raw: ")
    assert "Traceback" not in done.stderr + done.stdout


def test_only_errors_of_ours_lose_their_traceback():
    ours, wrapped, other = DataError("a.jsonl, row 3"), DatasetError("Failed while saving"), ValueError("a bug")
    wrapped.__cause__ = ours
    with click.Context(click.Command("run")):
        for error in (ours, wrapped):
            with pytest.raises(click.ClickException, match=r"^a.jsonl, row 3$"):
                ClosingHooks().on_pipeline_error(error)
        full = DatasetError("Failed while saving")
        full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(click.ClickException, match=r"^The disk is full .*make room, run the same again.$"):
            ClosingHooks().on_pipeline_error(full)
        ClosingHooks().on_pipeline_error(other)
        ClosingHooks().on_pipeline_error(OSError(errno.EIO, "no full disk"))
    ClosingHooks().on_pipeline_error(wrapped)  # outside the command line Kedro raises the error as it is


def test_the_project_itself_imports_nothing_heavy():
    program = (
        "import sys, ruri_kedro.hooks.tracking, ruri_kedro.settings, ruri_kedro.cli.commands, ruri_kedro.datasets\n"
        "print([name for name in ('torch', 'transformers', 'mlflow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_data_run_imports_no_torch(module_project):
    program = (
        "import sys\nfrom kedro.framework.cli import main\n"
        "sys.argv = ['kedro', 'run', '--pipelines', 'data_engineering']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=module_project, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


HOLD = """
import sys, time
from pathlib import Path
from ruri_kedro.hooks.sole_run import MARK
from ruri_kedro.tables.files import sole_user
with sole_user(Path(sys.argv[1]), mark=MARK):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_run_that_writes_what_another_one_writes_is_told_at_once(project):
    run(project, "data_engineering")
    table = project / "data/03_primary/tiny/passages"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(table)], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"held\n"
            before = last_run().info.run_id
            with pytest.raises(DataError, match=r"passages: another run is writing it, so this one cannot start. Wait"):
                run(project, "data_engineering")
            assert last_run().info.run_id == before
            run(project, "pretraining", fail=False)  # which only reads it
        finally:
            other.kill()
    run(project, "data_engineering")
    with pytest.raises(RuntimeError, match="broke"):
        run(project, "pretraining", fail=True)
    assert not list(project.glob("data/**/.*-*"))


@pytest.mark.slow
def test_of_two_runs_at_once_one_works_and_the_other_is_told(tmp_path):
    project = make_project(tmp_path / "twice")
    registry = project / "src/tiny_project/pipeline_registry.py"
    registry.write_text(
        registry.read_text("utf-8").replace("    rows = [", "    __import__('time').sleep(60)\n    rows = [")
    )
    runs = [
        subprocess.Popen([KEDRO, "run"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    ends = sorted((process.communicate()[0], process.returncode) for process in runs)
    (told,) = [text for text, code in ends if code == 1]
    assert [code for _, code in ends].count(0) == 1
    assert "another run is writing it, so this one cannot start" in " ".join(told.split()) and "Traceback" not in told
