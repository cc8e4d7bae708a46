"""The pipeline `promotion` and the commands around it, in a project with the shipped configuration."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cut_project import make_cut_project
from kedro_project import empty_store
from registered import OTHER_WORDS, aliases, evidence, register
from tiny import tiny_encoder

from ruri_kedro.cli.commands import cli
from ruri_kedro.errors import RegistryError
from ruri_kedro.pipeline_registry import register_pipelines

NAME = "ruri-cut"
# Not a matter of how busy the machine of the tests is.
RULES = {"promotion": {"resamples": 500, "latency_ms": {"embedder": 60_000, "reranker": 60_000}}}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "embedder"
    tiny_encoder().save_pretrained(str(path))
    return path


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project with an empty registry, which is the tracking store of this test."""
    import mlflow
    from kedro.framework.startup import bootstrap_project

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("KEDRO_ENV", raising=False)
    make_cut_project(tmp_path)
    (tmp_path / "conf/cut/parameters_promotion.yml").write_text(yaml.safe_dump(RULES), "utf-8")
    shutil.copy(empty_store(), tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    bootstrap_project(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.create_experiment("test", artifact_location=(tmp_path / "mlruns").as_uri())
    mlflow.set_experiment("test")
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run()


def run(project: Path) -> dict:
    """The decision of a run of the pipeline."""
    from kedro.framework.session import KedroSession

    with KedroSession.create(project_path=project, env="cut", runtime_params={"versioned": False}) as session:
        session.run(pipeline_names=["promotion"])
    return json.loads((project / "data/08_reporting/cut/dvc/promotion_decision.json").read_text("utf-8"))


def ruri(*arguments: str):
    command, *rest = arguments
    return CliRunner().invoke(cli, ["ruri", command, "--env", "cut", *rest])


def test_the_default_run_promotes_nothing():
    pipelines = register_pipelines()
    names = {node.name for node in pipelines["promotion"].nodes}
    assert names and not names & {node.name for node in pipelines["__default__"].nodes}


@pytest.mark.long
def test_first_equal_and_better_by_the_pipeline(project, encoder, capsys):
    with pytest.raises(RegistryError, match="no version has the alias 'challenger'"):
        run(project)
    register(encoder, name=NAME)
    assert run(project)["decision"] == "promoted" and aliases(NAME)["champion"] == 1
    register(encoder, evidence(card=OTHER_WORDS), name=NAME)
    capsys.readouterr()
    assert run(project)["decision"] == "refused: gain" and aliases(NAME)["champion"] == 1
    said = capsys.readouterr().out
    assert "ruri-cut version 2: refused" in said and "| gain | **fail** | no gated task is better" in said
    register(encoder, evidence(level=0.6), name=NAME)
    assert run(project)["decision"] == "promoted"
    assert aliases(NAME) == {"challenger": 3, "champion": 3, "previous": 1}
    folder = project / "data/08_reporting/cut/dvc"
    page = (folder / "champions.html").read_text("utf-8")
    assert 'src="data:image/svg+xml;base64,' in page and "Champions of ruri-cut" in page
    assert "![The main metrics by version](champions.svg)" in (folder / "champions.md").read_text("utf-8")
    assert "<svg" in (folder / "champions.svg").read_text("utf-8")


def test_the_commands(project, encoder):
    assert "no version has the alias 'challenger'" in ruri("promote").output
    assert "'ruri-cut' has no previous champion" in ruri("rollback").output
    for level in (0.5, 0.6):
        register(encoder, evidence(level), name=NAME)
    tried = ruri("promote", "--version", "1", "--dry-run")
    assert tried.exit_code == 0 and "| standing | pass |" in tried.output and "champion" not in aliases(NAME)
    assert ruri("promote", "--version", "1").exit_code == 0
    assert "'ruri-cut' has no version 9" in ruri("promote", "--version", "9").output
    refused = ruri("promote", "--version", "1")
    assert refused.exit_code == 1 and refused.output.endswith("Error: refused: standing, gain\n")
    assert ruri("promote").exit_code == 0 and aliases(NAME)["champion"] == 2
    said = ruri("status").output
    assert "ruri-cut version 2 (challenger, champion)  promoted\n" in said
    assert "ruri-cut version 1 (previous)  promoted\n" in said
    back = ruri("rollback")
    assert back.output == "ruri-cut: version 1 is the champion again, version 2 is not.\n"
    assert "ruri-cut version 2 (challenger)  rolled back to version 1\n" in ruri("status").output
    said = ruri("champions", "--out", str(project / "out")).output
    assert "| 1 | " in said and "| champion | 0.5000 |" in said and "| rolled back | 0.5000 |" in said
    assert said.endswith(f"{project / 'out/champions.md'}\n{project / 'out/champions.html'}\n")
    assert {path.name for path in (project / "out").iterdir()} == {f"champions.{end}" for end in ("md", "html", "svg")}
