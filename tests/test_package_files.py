"""Files for those who run the project elsewhere: image, compose file, workflows, citation."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from kedro_project import KEDRO, REPOSITORY

BIN = Path(sys.executable).parent


def read(name):
    return yaml.safe_load((REPOSITORY / name).read_text("utf-8"))


def project():
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]


def targets():
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    return set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())


def test_hadolint_finds_nothing_in_the_dockerfile():
    if not (BIN / "hadolint").exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([BIN / "hadolint", REPOSITORY / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_copies_what_is_there_and_asks_for_extras_that_are():
    text = (REPOSITORY / "Dockerfile").read_text("utf-8")
    for source in re.findall(r"^COPY (\S+) ", text, re.MULTILINE):
        assert (REPOSITORY / source).exists()
    extras = project()["optional-dependencies"]
    (asked,) = re.findall(r"^ARG EXTRAS=(.*)$", text, re.MULTILINE)
    assert set(asked.split(",")) <= extras.keys()
    assert "USER 10001" in text and "\ntorch==" in (REPOSITORY / "requirements.lock").read_text()
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    assert {"conf/local", "data", "mlflow.db", ".git"} <= set(ignored), "neither data nor credentials go into an image"


def test_the_compose_file_names_what_it_has_and_no_password():
    found = read("compose.yaml")
    services, volumes = found["services"], set(found["volumes"])
    for name, service in services.items():
        assert "image" in service and not service["image"].endswith(":latest"), name
        for other, condition in service.get("depends_on", {}).items():
            wanted = condition["condition"]
            assert wanted != "service_healthy" or "healthcheck" in services[other], (name, other)
        for mount in service.get("volumes", []):
            assert mount.split(":")[0] in volumes
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: reachable from elsewhere"
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN", key):
                assert "${" in value and ":?" in value, f"{name}.{key}: from .env, and an error without it"
    assert {"mlflow", "postgres", "minio", "trainer", "service"} <= services.keys()
    page = (REPOSITORY / "docs/containers.md").read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+):\?", (REPOSITORY / "compose.yaml").read_text("utf-8")))
    assert all(f"`{name}`" in page for name in asked)


def test_its_commands_are_those_of_the_programs():
    """Without a container: the options of mlflow server and of kedro ruri are there."""
    import click
    from mlflow.cli import cli as mlflow

    from ruri_kedro.cli.commands import ruri

    services = read("compose.yaml")["services"]
    options = {option for param in mlflow.commands["server"].params for option in param.opts}
    assert set(re.findall(r"--[a-z-]+", services["mlflow"]["command"][2])) <= options
    words = services["service"]["command"]
    assert words[:2] == ["kedro", "ruri"]
    context = click.Context(ruri)
    if words[2] not in ruri.list_commands(context):
        pytest.skip(f"kedro ruri {words[2]} is not there")
    known = {option for param in ruri.get_command(context, words[2]).params for option in param.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("path", sorted((REPOSITORY / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_what_a_workflow_runs_is_a_target_of_make(path):
    found = read(path.relative_to(REPOSITORY))
    steps = [step for job in found["jobs"].values() for step in job["steps"]]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs and all(run.split()[0] == "make" and set(run.split()[1:]) <= targets() for run in runs)
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert found["permissions"] == {"contents": "read"} and all(
        "timeout-minutes" in job for job in found["jobs"].values()
    )


def test_the_citation_has_the_version_of_the_package():
    citation = read("CITATION.cff")
    assert (
        citation["version"] == tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    )
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


@pytest.mark.parametrize("name", ["README.ja.md", "CONTRIBUTING.md", "SECURITY.md", "README.md"])
def test_pages_at_the_root_link_to_what_is_there(name):
    text = (REPOSITORY / name).read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_the_japanese_readme_has_the_commands_of_the_english_one():
    english, japanese = ((REPOSITORY / name).read_text("utf-8") for name in ("README.md", "README.ja.md"))
    blocks = re.findall(r"^```\n(.*?)^```", japanese, re.MULTILINE | re.DOTALL)
    commands = {line.split("  #")[0].strip() for block in blocks for line in block.splitlines()}
    assert commands and all(command in english for command in commands)
    assert english.count("\n## ") == japanese.count("\n## "), "a section is missing"


def test_a_graph_of_airflow_has_every_node_and_no_data_between_tasks_in_memory(tmp_path):
    pytest.importorskip("kedro_airflow")
    import ast

    for name in ("conf", "src"):
        (tmp_path / name).mkdir()
    shutil.copytree(REPOSITORY / "conf/base", tmp_path / "conf/base")
    (tmp_path / "conf/local").mkdir()
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    words = ["airflow", "create", "--pipelines", "__default__", "--group-by", "memory", "--target-dir", "dags"]
    done = subprocess.run([KEDRO, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "dags").glob("*.py")
    text = path.read_text("utf-8")
    ast.parse(text)
    from ruri_kedro.pipeline_registry import register_pipelines

    nodes = {node.name for node in register_pipelines()["__default__"].nodes}
    assert [name for name in nodes if name not in text] == []
