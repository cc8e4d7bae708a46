"""Tags of a run, and the command that does it again."""

import shlex
import subprocess

import pytest
from kedro.framework.cli.project import run as kedro_run

from ruri_kedro.registry.runs import provenance

RUN = {"env": None, "pipeline_names": None, "runtime_params": {}, "runner": "<kedro.runner.SequentialRunner object>"}


def read_back(command: str) -> dict:
    """What Kedro's own command line makes of a command."""
    words = shlex.split(command)
    assert words[:2] == ["kedro", "run"]
    return kedro_run.make_context("run", words[2:]).params


def test_plain_run():
    assert provenance.run_command(RUN) == "kedro run"


@pytest.mark.parametrize(
    "params",
    [
        {"raw_root": "../shared/data/ja"},
        {"name": "two words", "quote": "it's", "dollar": "$HOME `id`", "number": "12", "truth": "true"},
        {"seed": 1, "lr": 1e-05, "flag": False, "nothing": None, "text": "null", "empty": ""},
        {"mining": {"supervised": {"depth": 5}}, "a": {"b": "x=y"}},
        {"model": "org/name:rev", "comment": "#1", "colon": "a: b"},
    ],
)
def test_parameters_come_back_as_they_were(params):
    command = provenance.run_command({**RUN, "runtime_params": params})
    assert read_back(command)["params"] == params
    assert "#" not in command.replace("#1", "")


def test_selection_comes_back_as_it_was():
    run = RUN | {
        "env": "mini",
        "pipeline_names": ["finetuning", "evaluation"],
        "tags": ("slow",),
        "from_nodes": ["finetune"],
        "load_versions": {"embedder": "2026-01-01T00.00.00.000Z"},
        "runner": "<kedro.runner.thread_runner.ThreadRunner object at 0x7f>",
        "only_missing_outputs": True,
    }
    read = read_back(provenance.run_command(run))
    assert read["env"] == "mini" and read["pipelines"] == ["finetuning", "evaluation"]
    assert list(read["tags"]) == ["slow"] and read["from_nodes"] == ["finetune"]
    assert read["load_versions"] == {"embedder": "2026-01-01T00.00.00.000Z"}
    assert read["runner"] == "ThreadRunner" and read["only_missing_outputs"] is True


def test_another_pipeline_keeps_environment_and_parameters():
    run = RUN | {"env": "mini", "pipeline_names": ["finetuning"], "runtime_params": {"versioned": False}}
    command = provenance.run_command(run, "pretraining")
    assert command == "kedro run --env mini --pipelines pretraining --params versioned=false"


def test_what_the_command_line_cannot_express_is_said():
    command = provenance.run_command({**RUN, "runtime_params": {"a": [1, 2], "b": "x,y", "c": 1}})
    assert command == "kedro run --params c=1  # --params cannot express a, b"


def test_git_tags(tmp_path):
    assert provenance.git_tags(tmp_path) == {}

    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
        done = subprocess.run(["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init")
    (tmp_path / "a").write_text("a")
    git("add", "a")
    git("commit", "-m", "a")
    assert provenance.git_tags(tmp_path) == {"git_commit": git("rev-parse", "HEAD"), "git_dirty": "false"}
    (tmp_path / "a").write_text("b")
    assert provenance.git_tags(tmp_path)["git_dirty"] == "true"


def test_dvc_tags_are_of_the_inputs_only(tmp_path):
    (tmp_path / "data/01_raw").mkdir(parents=True)
    (tmp_path / "data/01_raw/sample.dvc").write_text("outs:\n- md5: aaa.dir\n  path: sample\n")
    (tmp_path / "data/01_raw/mini.dvc").write_text("outs:\n- md5: bbb.dir\n  path: mini\n")
    (tmp_path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  data_engineering:\n    cmd: kedro run\n    outs:\n"
        "    - path: data/03_primary/sample/pairs\n      md5: ccc.dir\n"
        "  finetuning:\n    cmd: kedro run\n    outs:\n    - path: data/06_models/sample/embedder\n      md5: ddd.dir\n"
    )
    read = [tmp_path / "data/01_raw/sample", tmp_path / "data/03_primary/sample/pairs"]
    assert provenance.dvc_tags(tmp_path, read) == {
        "dvc.data/01_raw/sample": "aaa.dir",
        "dvc.data/03_primary/sample/pairs": "ccc.dir",
    }
    assert provenance.dvc_tags(tmp_path, [tmp_path / "elsewhere"]) == {}


def test_package_tags_name_what_weights_depend_on():
    assert {"version.torch", "version.transformers", "version.ruri-kedro"} <= set(provenance.package_tags())
