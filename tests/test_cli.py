"""`kedro ruri ...`"""

from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro_project import make_project
from mlflow import MlflowClient

from ruri_kedro.cli.commands import cli
from ruri_kedro.registry.versions.models import Registered


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    from kedro.framework.startup import bootstrap_project

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    bootstrap_project(tmp_path)
    return tmp_path


def test_status_without_models(project):
    done = CliRunner().invoke(cli, ["ruri", "status"])
    assert done.exit_code == 0, done.output
    assert "No model is registered yet. Run: kedro run" in done.output


def test_status_lists_versions_aliases_and_metrics(project, monkeypatch):
    bounds = {"jsts/spearman_ci95_low": 0.4, "jsts/spearman_ci95_high": 0.625}
    found = [Registered("ruri-tiny", 2, ("challenger",), {"jsquad/ndcg_at_10": 0.25, "jsts/spearman": 0.5, **bounds})]
    monkeypatch.setattr("ruri_kedro.registry.versions.models.list_registered", lambda: found)
    MlflowClient(f"sqlite:///{project}/mlflow.db").create_registered_model("ruri-tiny")  # the store is asked first
    done = CliRunner().invoke(cli, ["ruri", "status"])
    assert "ruri-tiny version 2 (challenger)\n" in done.output
    assert done.output.index("jsquad/ndcg_at_10") < done.output.index("jsts/spearman")
    assert "0.2500\n" in done.output and "0.5000  0.4000 to 0.6250\n" in done.output and "ci95" not in done.output
