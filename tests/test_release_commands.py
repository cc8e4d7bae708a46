"""`kedro ruri lineage | fetch | export | publish`: what is asked for wrongly ends with one line that says so."""

import pytest
from click.testing import CliRunner
from kedro_project import make_project

from ruri_kedro.cli.commands import cli


@pytest.fixture
def project(tmp_path, monkeypatch):
    from kedro.framework.startup import bootstrap_project

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    bootstrap_project(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lineage"], "Name a model, such as ruri-sample@champion, or a row by --row."),
        (["lineage", "ruri-tiny", "--row", "a"], "Name a model, such as ruri-sample@champion, or a row by --row."),
        (["lineage", "ruri-tiny@champion"], "'ruri-tiny' has no 'champion'. `kedro ruri status` lists"),
        (["lineage", "--row", "a"], "There are no passages yet. Run: kedro run --pipelines data_engineering"),
        (["fetch", "ruri-tiny", "--out", "served"], "'ruri-tiny' has no 'champion' or 'challenger'."),
        (["export", "ruri-tiny", "--out", "onnx"], "Name a format: --onnx, or --onnx --int8."),
        (
            ["export", "ruri-tiny", "--onnx", "--out", "onnx"],
            "no tasks are read yet. Run: kedro run --pipelines data_e",
        ),
        (
            ["publish", "model", "ruri-tiny", "--out", "out"],
            "publication: missing. conf/base/parameters_publication.yml",
        ),
        (["publish", "model", "ruri-tiny", "--out", "out", "--upload"], "--upload needs --repo <owner>/<name>."),
        (["publish", "dataset", "--out", "out", "--repo", "ruri"], "'ruri' is not a repository of the hub."),
        (["publish", "dataset", "--out", "out"], "There are no examples yet."),
    ],
)
def test_what_cannot_be_is_said_in_one_line(project, arguments, said):
    done = CliRunner().invoke(cli, ["ruri", *arguments])
    assert done.exit_code in (1, 2) and isinstance(done.exception, SystemExit)
    assert said in done.output and "Traceback" not in done.output


def test_fetch_leaves_what_is_there(project):
    (project / "served").mkdir()
    (project / "served/thesis.txt").write_text("years of work", "utf-8")
    done = CliRunner().invoke(cli, ["ruri", "fetch", "ruri-tiny", "--out", "served"])
    assert "served is there already and is not empty. Name another folder." in done.output
    assert (project / "served/thesis.txt").read_text("utf-8") == "years of work"
