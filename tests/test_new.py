"""`ruri-kedro` without a clone: a new project, and commands that need none; from a wheel in the slow tests."""

import filecmp
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cut_project import own_environment, write_cut
from kedro_project import REPOSITORY

from ruri_kedro.cli.commands import cli
from ruri_kedro.cli.new import LAYERS

RUN = "q1 Q0 d1 1 2.0 x\nq1 Q0 d2 2 1.0 x\n"
QRELS = "q1 0 d2 1\n"


@pytest.fixture
def project(tmp_path) -> Path:
    done = CliRunner().invoke(cli, ["ruri", "new", str(tmp_path / "mine")])
    assert done.exit_code == 0 and "kedro run" in done.output, done.output
    return tmp_path / "mine"


def differences(first: Path, second: Path) -> list[str]:
    """Files that only one of two folders has, or that differ."""
    found = filecmp.dircmp(first, second, ignore=["local"])
    here = [*found.left_only, *found.right_only, *found.diff_files]
    return here + [name for folder in found.common_dirs for name in differences(first / folder, second / folder)]


def test_a_new_project_has_the_configuration_of_the_repository(project):
    assert differences(REPOSITORY / "conf", project / "conf") == []
    assert (project / ".gitignore").read_bytes() == (REPOSITORY / ".gitignore").read_bytes()
    assert sorted(path.name for path in (project / "data").iterdir()) == sorted(LAYERS)
    assert "{" not in (project / "pyproject.toml").read_text("utf-8")
    assert (project / "README.md").read_text("utf-8").startswith("# mine\n")


def test_its_stages_depend_on_the_version_in_place_of_code(project):
    ours, stages = (yaml.safe_load((root / "dvc.yaml").read_text("utf-8")) for root in (REPOSITORY, project))
    assert set(stages["stages"]) == set(ours["stages"])
    for name, stage in stages["stages"].items():
        assert "requirements.txt" in stage["deps"] and stage["cmd"] == ours["stages"][name]["cmd"]
        assert not [dep for dep in stage["deps"] if "code" in dep or "src" in dep]
        assert stage["outs"] == ours["stages"][name]["outs"]


@pytest.mark.parametrize("recipe", ["e5", "ruri"])
def test_a_project_that_begins_with_a_recipe_has_that_alone(tmp_path, recipe):
    done = CliRunner().invoke(cli, ["ruri", "new", str(tmp_path / "mine"), "--from", recipe])
    assert done.exit_code == 0 and f"kedro run --env {recipe}" in done.output
    conf = tmp_path / "mine/conf"
    assert {path.name for path in conf.iterdir() if path.is_dir()} == {"base", recipe, "local"}
    assert differences(REPOSITORY / "conf" / recipe, conf / recipe) == []
    assert not (tmp_path / "mine/dvc.yaml").exists()
    readme = (tmp_path / "mine/README.md").read_text("utf-8")
    assert f"kedro ruri dvc --env {recipe}" in readme and "{" not in readme


def test_a_folder_with_something_in_it_is_left_alone(project):
    done = CliRunner().invoke(cli, ["ruri", "new", str(project)])
    assert done.exit_code == 1 and "is there already and is not empty" in done.output


def run(python: str, folder: Path, *words: str, path: str | None = None) -> subprocess.CompletedProcess:
    """`ruri-kedro WORDS` in a folder; `path` is where its sources are, if they are not installed."""
    environment = {key: value for key, value in own_environment().items() if key != "PYTHONPATH"}
    if path:
        environment["PYTHONPATH"] = path
    command = [python, "-m", "ruri_kedro", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def score_something(python: str, folder: Path, path: str | None = None) -> None:
    """Score a run in `folder`, which is not a project."""
    (folder / "runs").mkdir()
    (folder / "runs/x.trec").write_text(RUN, encoding="utf-8")
    (folder / "qrels.txt").write_text(QRELS, encoding="utf-8")
    words = "score-runs --runs runs --qrels qrels.txt --out means.json --metric mrr@10"
    done = run(python, folder, *words.split(), path=path)
    assert done.returncode == 0 and "0.5000" in done.stdout, done.stderr


def test_commands_outside_of_a_project(tmp_path):
    sources = str(REPOSITORY / "src")
    score_something(sys.executable, tmp_path, sources)
    done = run(sys.executable, tmp_path, "status", path=sources)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {tmp_path} is not in a project") and "ruri-kedro new FOLDER" in done.stderr


def test_the_wheel_brings_the_files_of_a_project(tmp_path):
    """As the build makes it, without the tools around it."""
    pytest.importorskip("setuptools")
    words = ["egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(tmp_path / "lib")]
    done = subprocess.run([sys.executable, "setup.py", "-q", *words], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    package = tmp_path / "lib/ruri_kedro"
    assert differences(REPOSITORY / "conf", package / "project_files/conf") == []
    assert not (package / "project_files/conf/local").exists()
    for name in ("dvc.yaml", ".gitignore"):
        assert (package / "project_files" / name).read_bytes() == (REPOSITORY / name).read_bytes()
    assert {path.name for path in (package / "cli/new_project").iterdir()} == {"README.md", "pyproject.toml"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_from_the_wheel_to_a_run(tmp_path):
    """Built, installed into an environment that sees the packages of this one, and used outside of the clone."""
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    clone = tmp_path / "clone"  # a build leaves files beside the sources
    for name in ("src", "conf"):
        shutil.copytree(REPOSITORY / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "dvc.yaml", ".gitignore"):
        shutil.copy(REPOSITORY / name, clone / name)
    subprocess.run([*wheel, "--wheel-dir", str(tmp_path), str(clone)], check=True)
    venv.create(tmp_path / "env", with_pip=False)
    python = str(tmp_path / "env/bin/python")
    (site,) = (tmp_path / "env/lib").glob("python*/site-packages")
    # The packages of this environment come after the wheel, so the sources in the clone are not seen.
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(others) + "\n", encoding="utf-8")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--ignore-installed"]
    subprocess.run([*install, *map(str, tmp_path.glob("ruri_kedro-*.whl"))], check=True)

    done = run(python, tmp_path, "new", "mine")
    assert done.returncode == 0, done.stderr
    project = tmp_path / "mine"
    assert differences(REPOSITORY / "conf", project / "conf") == []
    assert run(python, project, "status").stdout == "No model is registered yet. Run: kedro run\n"
    script = subprocess.run([str(tmp_path / "env/bin/ruri-kedro"), "--help"], capture_output=True, text=True)
    assert "score-runs" in script.stdout, script.stderr
    score_something(python, tmp_path)

    write_cut(project / "data/01_raw/sample")
    kedro = [python, "-m", "kedro", "run", "--pipelines", "data_engineering"]
    environment = {key: value for key, value in own_environment().items() if key != "PYTHONPATH"}
    done = subprocess.run(kedro, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "data/03_primary/sample/pairs/manifest.json").is_file()
    refused = subprocess.run([*kedro[:-1], "finetuning"], cwd=project, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1 and "made by the pipeline 'reranking'" in refused.stderr
