"""kedro ruri dvc: stages of DVC for a recipe, and plots of the shipped ones."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from kedro_project import REPOSITORY

from ruri_kedro.cli.commands import cli
from ruri_kedro.recipe.stages import pipeline_order

DVC = str(Path(sys.executable).with_name("dvc"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    from kedro.framework.startup import bootstrap_project

    shutil.copytree(REPOSITORY / "conf", tmp_path / "conf", ignore=shutil.ignore_patterns("dvc*"))
    for name in ("pyproject.toml", "dvc.yaml", "dvc.code.yml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)
    bootstrap_project(tmp_path)
    subprocess.run([DVC, "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def paths(rows):
    return {path for row in rows for path in ([row] if isinstance(row, str) else row)}


def below(path, others):
    return any(path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in others)


def test_the_stages_of_a_recipe_are_read_by_dvc(project):
    done = CliRunner().invoke(cli, ["ruri", "dvc", "--env", "e5", "--size", "4l"], catch_exceptions=False)
    assert done.exit_code == 0 and "dvc repro conf/e5/dvc.yaml" in done.output, done.output
    stages = yaml.safe_load((project / "conf/e5/dvc.yaml").read_text("utf-8"))["stages"]
    assert stages["finetuning"]["cmd"] == "kedro run --env e5 --params versioned=false,size=4l --pipelines finetuning"
    assert "data/01_raw/mini" in stages["data_engineering"]["deps"]
    assert "data/06_models/e5/dvc/4l/embedder" in stages["finetuning"]["outs"]
    values = yaml.safe_load((project / "conf/e5/dvc.values.yml").read_text("utf-8"))
    assert values["finetuning"]["code"] and values["finetuning"]["parameters"]["finetuning"]
    graph = subprocess.run([DVC, "dag", "--dot", "conf/e5/dvc.yaml"], capture_output=True, text=True, check=True).stdout
    assert '"conf/e5/dvc.yaml:finetuning" -> "conf/e5/dvc.yaml:evaluation"' in graph
    first = (project / "conf/e5/dvc.values.yml").read_bytes()
    CliRunner().invoke(cli, ["ruri", "dvc", "--env", "e5", "--size", "4l"], catch_exceptions=False)
    assert (project / "conf/e5/dvc.values.yml").read_bytes() == first


def test_they_have_the_outputs_of_the_stages_that_stand_in_the_repository(project):
    """The hand-written stages of the sample, which group some outputs in a folder."""
    from ruri_kedro.cli.dvc_stages import recipe_stages
    from ruri_kedro.cli.project import project_context

    made, _ = recipe_stages(project_context(None, {"versioned": False}), "base")
    ours = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text("utf-8"))["stages"]
    assert set(made) == set(pipeline_order()) == set(ours) - {"sample_corpus"}
    for name, stage in made.items():
        for kind in ("outs", "metrics"):
            mine, theirs = paths(stage.get(kind, [])), paths(ours[name].get(kind, []))
            assert all(below(path, theirs) for path in mine), (name, kind)
            assert all(below(path, mine) for path in theirs), (name, kind)


def test_a_recipe_that_is_not_there(project):
    done = CliRunner().invoke(cli, ["ruri", "dvc", "--env", "missing"])
    assert done.exit_code == 1 and "missing" in done.output


def test_plots_are_shown_of_what_the_evaluation_writes(project):
    from matplotlib.figure import Figure

    folder = project / "data/08_reporting/sample/dvc"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("model,questions/ndcg@10\nbm25,0.7\nbase,0.1\n", "utf-8")
    for name in ("profile", "teacher_scores", "metrics"):
        Figure().savefig(folder / f"{name}.png")
    subprocess.run([DVC, "plots", "show", "--out", "shown"], cwd=project, check=True, capture_output=True)
    page = (project / "shown/index.html").read_text("utf-8")
    assert "questions/ndcg@10" in page and page.count(".png") >= 3
