"""A changed comment makes nothing anew; a changed constant what its code makes, for keys, steps and DVC stages."""

import ast
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from kedro_project import REPOSITORY
from key_work import KEYS, PACKAGE, STEPS, calls

from ruri_kedro.benchmark.tasks.types import task_types, work_by_type
from ruri_kedro.cli.stage_code import COMMAND, FILE, stage_digests, stage_work, write_stage_digests
from ruri_kedro.errors import DataError
from ruri_kedro.experiments.work import work_of
from ruri_kedro.pipeline_registry import register_pipelines
from ruri_kedro.pipelines.ablations.nodes import recipe_nodes
from ruri_kedro.pipelines.evaluation.nodes import score_bm25
from ruri_kedro.tables.code import WITHOUT_EFFECT, behaviour_digest, definitions_of, name_of

DVC = str(Path(sys.executable).with_name("dvc"))
STAGES = stage_work(REPOSITORY)
KEY_WORK = {name: [f"ruri_kedro.{each}" for each in work] for name, (_, _, work) in KEYS.items()}
STEP_WORK = {f"step {node.name}": [name_of(work) for work in work_of(node)] for node in recipe_nodes().nodes}


def digests(work: dict[str, list[str]], package: Path = PACKAGE) -> dict[str, str]:
    return {name: behaviour_digest(*names, package=package) for name, names in work.items()}


def changed(work: dict[str, list[str]], package: Path) -> set[str]:
    """The names of what has another digest in a changed package."""
    before, after = digests(work), digests(work, package)
    return {name for name in work if before[name] != after[name]}


@pytest.fixture
def package(tmp_path):
    """A copy of the package."""
    return shutil.copytree(PACKAGE, tmp_path / "copy/ruri_kedro", ignore=shutil.ignore_patterns("__pycache__"))


def with_other_comments(source: str) -> str:
    """The code with a comment more at both ends, and other text in every docstring."""
    lines = source.splitlines(keepends=True)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
    for row in (node.body[0].lineno - 1 for node in nodes if ast.get_docstring(node)):
        lines[row] = lines[row].replace('"""', '"""Other than before. ', 1)
    return "# A comment.\n\n\n" + "".join(lines) + "\n# The end.\n"


def test_every_key_is_listed():
    listed = {(module, arguments) for module, arguments, _ in KEYS.values()}
    assert calls() == listed | {STEPS, ("cli.stage_code", "*names")}


def test_modules_without_effect_exist():
    for name in WITHOUT_EFFECT:
        assert PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py").is_file(), name


def test_changed_comments_and_docstrings_in_every_module_make_nothing_anew(package):
    for path in package.rglob("*.py"):
        path.write_text(with_other_comments(path.read_text("utf-8")), "utf-8")
    assert "Other than before." in (package / "text/filters.py").read_text("utf-8")
    assert changed(KEY_WORK | STEP_WORK | STAGES, package) == set()


MADE_OF_SOURCES = {"duplicates", "passages", "pairs", "synthetic rows"}
TRAININGS = {"step pretrain", "step finetune", "step train_reranker_stage1", "step train_reranker_stage2"}


@pytest.mark.parametrize(
    ("file", "old", "new", "keys", "steps", "stages"),
    [
        ("text/filters.py", "_SHORT = 80", "_SHORT = 90", MADE_OF_SOURCES, set(), {"data_engineering"}),
        (
            "corpora/shapes.py", "_EXTRACTED_HEADING = ", "_EXTRACTED_HEADING = 1 and ",
            MADE_OF_SOURCES, set(), {"data_engineering"},
        ),
        (
            "search/fusion.py", "_DIGITS = 12", "_DIGITS = 9",
            {"candidates", "candidates by BM25"},
            {"step mining_pretraining.search", "step mining_supervised.search"},
            {"mining_pretraining", "mining_supervised"},
        ),
        (
            "training/losses.py", "_EPSILON = 1e-9", "_EPSILON = 1e-8",
            set(), {"step pretrain", "step finetune"}, {"pretraining", "finetuning"},
        ),
        (
            "training/plan.py", "_TRIED = 65_536", "_TRIED = 65_537",
            {"plan"}, TRAININGS | {"step adapt"}, {"adaptation", "pretraining", "reranking", "finetuning"},
        ),
        (
            "benchmark/metrics.py", '"mrr": "recip_rank"', '"mrr": "map"',
            {name for name in KEYS if name.startswith("scores of ")}
            | {"evaluate: recipe", "evaluate: mteb", "evaluate: mteb, late interaction"},
            {name for name in STEP_WORK if name.startswith(("step score_", "step validate_"))}
            - {"step score_with_teacher"} | {"step merge_with_older"},
            {"pretraining", "finetuning", "evaluation"},  # the former two validate what they train
        ),
    ],
)  # fmt: skip
def test_a_changed_constant_changes_what_its_code_makes_and_nothing_else(package, file, old, new, keys, steps, stages):
    change(package, file, old, new)
    assert changed(KEY_WORK, package) == keys
    assert changed(STEP_WORK, package) == steps
    assert changed(STAGES, package) == stages


def test_what_reads_tasks_counts_the_code_of_every_type():
    """A type is looked up in a table, which a digest does not follow: nodes are marked with what they look up."""
    reads = {"load_task": {"reading"}, "stored_task": {"collecting", "searching", "scoring"}}
    marked = {}
    for node in register_pipelines()["__default__"].nodes:
        named = {name for module, name in definitions_of(node.func) if module.startswith("ruri_kedro.benchmark.tasks")}
        # The key of a stored task names what reads it, and so does the digest of all that reads it back.
        allowed = [each for name, each in reads.items() if name in named]
        if allowed:
            marked[node.short_name] = getattr(node.func, "by_type", None)
            assert marked[node.short_name] in set.union(*allowed), node.name
    assert {"read_tasks", "search_tasks", "score_bm25", "export_runs"} <= marked.keys()
    assert len(work_by_type(score_bm25)) > len(task_types())


def change(package: Path, file: str, old: str, new: str) -> None:
    text = (package / file).read_text("utf-8")
    assert old in text
    (package / file).write_text(text.replace(old, new, 1), "utf-8")


def test_a_changed_data_file_changes_the_stages_that_read_it(package):
    change(package, "mining/report.html", "<h1>", "<h1>The ")
    assert changed(KEY_WORK, package) == set()
    assert changed(STAGES, package) == {"mining_pretraining", "mining_supervised"}


def test_a_changed_word_of_the_sample_changes_its_stage_alone(package):
    with (package / "corpora/sample/dishes.toml").open("a", encoding="utf-8") as file:
        file.write("\n# The end.\n")
    assert changed(KEY_WORK | STAGES, package) == {"sample_corpus"}


def test_the_text_of_an_error_changes_no_key(package):
    change(package, "corpora/build.py", "no pair is left to train on", "nothing is left")
    assert changed(KEY_WORK | STEP_WORK | STAGES, package) == set()


def test_all_digests_take_less_than_a_second(package):
    """Mostly the time to parse a hundred modules, 0.3 s; with room for a machine that does something else."""
    started = time.process_time()
    digests(KEY_WORK, package)
    first = time.process_time() - started
    digests(KEY_WORK, package)
    assert first < 1.0
    assert time.process_time() - started - first < 0.02, "a process computes them once"


def test_the_digests_of_the_stages_are_up_to_date():
    written = yaml.safe_load((REPOSITORY / FILE).read_text("utf-8"))
    assert written == stage_digests(REPOSITORY), f"{FILE} is not that of this code. Run: {COMMAND}"


def test_stages_depend_on_their_digest_and_on_no_folder_of_code():
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text("utf-8"))["stages"]
    assert set(stages) == set(STAGES)
    for name, stage in stages.items():
        assert {"${code}": [name]} in stage["params"]
        assert not [dep for dep in stage.get("deps", []) if "src" in dep or "code" in dep]


def dvc(project: Path, *words: str) -> str:
    done = subprocess.run([DVC, *words], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path):
    """A project whose stages read the digests of those of the repository, and do nothing; all are up to date."""
    folder = tmp_path / "project"
    folder.mkdir()
    dvc(folder, "init", "--no-scm", "--quiet")
    stages = {name: {"cmd": "echo done", "params": [{"${code}": [name]}]} for name in STAGES}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"vars": [{"code": FILE}], "stages": stages}), "utf-8")
    write_digests(folder, PACKAGE)
    dvc(folder, "repro", "--quiet")
    return folder


def write_digests(project: Path, package: Path) -> None:
    (project / FILE).write_text(yaml.safe_dump(digests(STAGES, package)), "utf-8")


def test_dvc_finds_the_stages_stale_whose_code_has_changed(project, package):
    for path in package.rglob("*.py"):
        path.write_text(with_other_comments(path.read_text("utf-8")), "utf-8")
    write_digests(project, package)
    assert yaml.safe_load(dvc(project, "status", "--json")) == {}

    other = shutil.copytree(package, package.parents[1] / "other/ruri_kedro")
    change(other, "training/losses.py", "_EPSILON = 1e-9", "_EPSILON = 1e-8")
    write_digests(project, other)
    assert set(yaml.safe_load(dvc(project, "status", "--json"))) == {"pretraining", "finetuning"}


def test_dvc_reads_the_stages_of_the_repository(tmp_path):
    for name in ("dvc.yaml", FILE):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "conf", tmp_path / "conf")
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    graph = dvc(tmp_path, "dag", "--dot")
    assert '"pretraining" -> "mining_supervised"' in graph
    assert all(name in graph for name in STAGES)


def test_the_command_writes_what_has_changed_and_only_where_it_is_read(tmp_path):
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path / "dvc.yaml")
    shutil.copytree(REPOSITORY / "conf", tmp_path / "conf")
    assert set(write_stage_digests(tmp_path)) == set(STAGES)
    assert (tmp_path / FILE).read_text("utf-8").startswith("# What the code of each stage")
    old = yaml.safe_load((tmp_path / FILE).read_text("utf-8")) | {"reranking": "of older code"}
    (tmp_path / FILE).write_text(yaml.safe_dump(old), "utf-8")
    assert set(write_stage_digests(tmp_path)) == {"reranking"}
    assert write_stage_digests(tmp_path) == {}
    (tmp_path / "dvc.yaml").unlink()
    with pytest.raises(DataError, match=r"no stage reads its code from dvc\.code\.yml"):
        write_stage_digests(tmp_path)


def test_the_parameters_that_dvc_reads_are_there():
    """DVC takes a parameter that is not in its file for one that has no value."""

    def has(given, path):
        for key in path.split("."):
            if not isinstance(given, dict) or key not in given:
                return False
            given = given[key]
        return True

    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text("utf-8"))
    places = {f"${{{name}}}": value for row in stages["vars"] for name, value in row.items()}
    read = [(places.get(place, place), key) for stage in stages["stages"].values() for row in stage.get("params", ())
            for place, keys in row.items() for key in keys]  # fmt: skip
    files = {file: yaml.safe_load((REPOSITORY / file).read_text("utf-8")) for file, _ in read}
    assert [pair for pair in read if not has(files[pair[0]], pair[1])] == []
