"""The lines of a run: an estimate, a line for each step with its time, and the warnings once more at the end."""

import json
import logging
import re
import subprocess

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro_project import KEDRO, make_project

from ruri_kedro.hooks.progress import ProgressHooks, estimate
from ruri_kedro.text.layout import duration

LONG = "a path that must not be cut: /" + "folder/" * 30 + "part-00000.parquet"


def one(raw):
    return raw


def many(one):
    return one, one


PIPELINE = Pipeline([Node(one, "raw", "one", name="one"), Node(many, "one", ["two", "three"], name="many")])


@pytest.fixture
def begun(tmp_path, caplog):
    """The hooks after the start of a run of two steps, in a project of its own."""
    caplog.set_level(logging.INFO)

    def begin() -> ProgressHooks:
        hooks = ProgressHooks()
        catalog = DataCatalog({"params:recipe": MemoryDataset("tiny")})
        hooks.before_pipeline_run({"project_path": str(tmp_path)}, PIPELINE, catalog)
        return hooks

    return begin


def step(hooks: ProgressHooks, name: str) -> None:
    """What Kedro tells of a step that works."""
    (node,) = (node for node in PIPELINE.nodes if node.name == name)
    for _ in node.inputs:
        hooks.before_dataset_loaded(node)
    hooks.before_node_run(node)
    hooks.after_node_run(node)
    for output in node.outputs:
        hooks.after_dataset_saved(output, node)


def test_a_step_is_one_line_when_its_last_output_is_stored(begun, caplog, tmp_path):
    hooks = begun()
    assert caplog.messages[-1].startswith("2 steps, none of which has run here before")
    step(hooks, "one")
    step(hooks, "many")
    hooks.after_pipeline_run()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("ruri_kedro")][1:]
    assert [re.sub(r"[\d.]+ s", "T s", line) for line in lines] == [
        "1/2 one: T s", "2/2 many: T s", "All steps are done, in T s.",
    ]  # fmt: skip
    kept = json.loads((tmp_path / "data/08_reporting/tiny/step_times.json").read_text("utf-8"))
    assert set(kept) == {"one", "many"}
    assert "1/2 one" in (tmp_path / "logs/run.log").read_text("utf-8")


def test_the_next_run_knows_the_times(begun, caplog, tmp_path):
    file = tmp_path / "data/08_reporting/tiny/step_times.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"one": 70, "many": 200, "other": 1000}', encoding="utf-8")
    hooks = begun()
    assert caplog.messages[-1] == "2 steps. Time in the last runs here: 4 min 30 s."
    step(hooks, "one")
    assert caplog.messages[-1].endswith(" s, about 3 min 20 s left")
    file.write_text('{"one": 7', encoding="utf-8")  # cut off
    begun()
    assert "none of which has run" in caplog.messages[-1]


def test_warnings_are_repeated_once_each_after_a_good_and_a_bad_end(begun, capsys):
    for end in ("repeat_warnings", "on_pipeline_error"):
        hooks = begun()
        for name in ("ruri_kedro.x", "kedro.io", "ruri_kedro.x"):
            logging.getLogger(name).warning("from %s\nand more", name)
        getattr(hooks, end)()
        assert capsys.readouterr().out.endswith("\n2 warnings:\n  from ruri_kedro.x\n  from kedro.io\n")
        hooks.repeat_warnings()
        assert capsys.readouterr().out == ""


def test_an_estimate_says_what_it_does_not_know():
    some = estimate({"a", "b"}, {"a": 3.0})
    assert some == "2 steps. Time of 1 of them in the last runs here: 3.0 s; the others are new."
    assert estimate({"a"}, {"a": 3.0}) == "1 step. Time in the last runs here: 3.0 s."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3700, "1 h 1 min"),
        (245, "4 min 5 s"),
        (12_000, "3 h 20 min"),
    ],
)
def test_times_are_said_as_a_person_does(seconds, text):
    assert duration(seconds) == text


def test_a_run_through_a_pipe_is_not_cut_and_has_a_line_for_each_step(tmp_path):
    project = make_project(tmp_path)
    registry = project / "src/tiny_project/pipeline_registry.py"
    said = f'    logging.getLogger("tiny_project").warning("{LONG}")\n'
    text = registry.read_text("utf-8").replace("def evaluate(metrics):\n", f"def evaluate(metrics):\n{said}")
    registry.write_text("import logging\n" + text, encoding="utf-8")
    done = subprocess.run([KEDRO, "run"], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [re.findall(r" \d/3 (\w+): ", line)[0] for line in lines if re.search(r" \d/3 ", line)] == [
        "read", "train", "evaluate",
    ]  # fmt: skip
    assert not [line for line in lines if "Running node" in line or "Completed" in line]
    assert lines[-2:] == ["1 warning:", f"  {LONG}"]
    assert [line for line in lines if LONG in line and "WARNING" in line]
    log = (project / "logs/run.log").read_text("utf-8")
    assert "Running node" in log and LONG in log
