"""Every recipe of conf/ from raw data to a decision on its champion, on stand-in data of the published forms.

The parameter files are those of conf/; what is given beside them, as `--params` would, stands here with its reason.
"""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bases import BASES
from chat_server import ChatServer, answer
from click.testing import CliRunner
from cut_project import write_cut
from kedro_project import REPOSITORY, empty_store
from mteb_stand_ins import stand_in_data
from recipes import SIZES_OF, recipe, sized
from small_runs import DEFAULT, SMALL, merged
from stand_in_data import write_mini, write_papers_corpora

from ruri_kedro.cli.commands import cli
from ruri_kedro.models.base import build_cross_encoder

BASE_OF = {"small": "line", "base": "tohoku", "large": "tohoku"}  # of conf/ruri; all of ruri-v3 are ModernBERT


def tiny_vocabulary() -> dict[str, Any]:
    """For the recipes that build their base model."""
    tiny = {"vocab_size": 2000, "hidden_size": 32, "intermediate_size": 48, "heads": 2}
    mining = {"window": {"first": 5, "last": 40}}  # the cut collections end before rank 100
    run = {"allow_untrained": True}  # of so few stand-in rows a share can be none
    return merged(SMALL, {"base_model": {"tiny": tiny}, "mining": {"supervised": mining}, "run": run})


def of_the_paper(env: str, size: str, root: Path) -> dict[str, Any]:
    """For conf/ruri and conf/ruri-v3: folders in place of names on the hub, which cannot be reached."""
    found = sized(env, size)
    base, long = models(root, "modernbert" if env == "ruri-v3" else BASE_OF[size])
    teacher = {} if found["finetuning"]["teacher"]["name"] is None else {"name": str(long / "reranker")}
    hub = root / "hub"
    sources = {name: {"hub": local(row["hub"], hub)} for name, row in found["sources"].items() if "hub" in row}
    tasks: dict[str, Any] = {
        name: {"hub": local(row["hub"], hub)} for name, row in found["tasks"].items() if "hub" in row
    }
    for name, row in found["tasks"].items():
        if "hub" in row.get("corpus", {}):
            tasks[name]["corpus"] = {"hub": local(row["corpus"]["hub"], hub)}
    tasks["jacolbert_mrtydi"]["corpus"]["sampled"] = {"random": 20}  # of 100,000
    return merged(SMALL, {
        "size": size,
        "run": {"allow_untrained": True},  # some stand-in collections end before rank 30
        "base_model": {"name": str(base)},
        "mining": {"supervised": {"encoder": {"name": str(long / "encoder")}}},
        "finetuning": {"teacher": teacher},
        "sources": sources,
        "tasks": tasks,
        "tested_on": [],  # benchmarks of mteb are on the hub
        "ablations": {"only": "table6 table12"},  # one table of rerankers, one by JMTEB; the others take the same steps
    })  # fmt: skip


def local(hubs: Any, hub: Path) -> Any:
    """The rows of data sets on the hub, with the folders of their copies."""
    if isinstance(hubs, list):
        return [local(row, hub) for row in hubs]
    return {**hubs, "id": str(hub / hubs["id"])}


def models(root: Path, base: str) -> tuple[Path, Path]:
    """A base model in the form of the recipe's, and a folder with stand-ins of mE5 and of the teacher."""
    folder, others = root / "models" / base, root / "models/others"
    if not folder.exists():
        BASES[base](folder, **({} if base == "modernbert" else {"positions": 512}))
    if not others.exists():
        BASES["roberta"](others / "encoder", positions=512)
        BASES["tohoku"](others / "base", positions=512)
        build_cross_encoder(others / "base", 512, 0).save_pretrained(str(others / "reranker"))
    return folder, others


def make_project(root: Path) -> Path:
    """The configuration as it is, and an empty MLflow store."""
    shutil.copytree(REPOSITORY / "conf", root / "conf", symlinks=True)
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    (root / "src").mkdir()
    shutil.copy(empty_store(), root / "mlflow.db")
    return root


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs pipelines of a recipe in a project with stand-in data, as `kedro run` does."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    for name in ("MLFLOW_TRACKING_URI", "KEDRO_ENV"):
        monkeypatch.delenv(name, raising=False)
    root = make_project(tmp_path)
    monkeypatch.chdir(root)
    bootstrap_project(root)
    raw = root / "data/01_raw"
    corpora = {
        None: (raw / "sample", write_cut),
        "mini": (raw / "mini", write_mini),
        "ruri": (raw / "ruri", lambda folder: write_papers_corpora(folder, root / "hub")),
    }
    corpora["ruri-v3"] = corpora["ruri"]

    def run(env: str | None, given: dict[str, Any], *pipelines: str) -> Path:
        folder, make = corpora[env]
        if not folder.exists():
            make(folder)
        with KedroSession.create(project_path=root, env=env, runtime_params=given) as session:
            session.run(pipeline_names=list(pipelines))
        return root

    return run


def given_to(env: str, size: str | None, root: Path) -> dict[str, Any]:
    return of_the_paper(env, size, root) if size else tiny_vocabulary()


def test_the_papers_tests_are_read_in_their_published_forms(tmp_path):
    """The quick part; tests/corpora/test_published.py reads the sources."""
    from ruri_kedro.benchmark.tasks.stored import stored_task
    from ruri_kedro.pipelines.data_engineering.nodes import read_tasks

    raw = tmp_path / "raw"
    write_papers_corpora(raw, tmp_path / "hub")
    tasks = merged(sized("ruri", "base")["tasks"], of_the_paper("ruri", "base", tmp_path)["tasks"])
    builds = read_tasks(raw, tasks)
    for name in tasks:
        builds[name](tmp_path / "sets" / name)
        task = stored_task(tmp_path / "sets", name)
        assert task.queries and all(task.qrels[qid] for qid in task.queries), name


@pytest.fixture
def bare(tmp_path, monkeypatch) -> Path:
    """A project with the configuration and nothing else."""
    from kedro.framework.startup import bootstrap_project

    for name in ("MLFLOW_TRACKING_URI", "KEDRO_ENV"):
        monkeypatch.delenv(name, raising=False)
    root = make_project(tmp_path)
    monkeypatch.chdir(root)
    bootstrap_project(root)
    return root


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare", "--env", "ruri", "--size", "small"), "data/07_model_output/ruri/versions/small/scores: no score"),
        (("compare", "--env", "ruri"), "data/07_model_output/ruri/versions/base/scores: no score table here"),
        (("rollback", "--env", "ruri-v3", "--size", "30m"), "'ruri-v3-30m' has no previous champion"),
        (("compare", "--env", "mini", "--size", "small"), "--size small: there is no such parameter"),
    ],
)
def test_commands_ask_for_the_models_of_a_size(bare, arguments, said):
    done = CliRunner().invoke(cli, ["ruri", *arguments])
    assert done.exit_code == 1 and said in done.output.replace("\n", "")


def test_the_next_command_names_the_size_that_was_given(bare):
    from ruri_kedro.registry.summary import closing_lines
    from ruri_kedro.registry.versions.models import Registered

    with pytest.MonkeyPatch.context() as patch:
        versions = [Registered("ruri-small", 1, ("challenger",), {})]
        patch.setattr("ruri_kedro.registry.versions.models.registered_by", lambda run_id: versions)
        patch.setattr("ruri_kedro.registry.summary._ui_command", lambda *_: ("mlflow ui", "runs"))
        text = closing_lines("id", bare, "ruri", "small")
    assert "kedro run --env ruri --pipelines promotion --params size=small" in text


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("env", "size"), [(env, size) for env, sizes in SIZES_OF.items() for size in sizes])
def test_every_recipe_runs_to_the_end(run, env, size, tmp_path):
    """All pipelines in their order, then promotion: to a decision, whatever it is."""
    environment, given = None if env == "sample" else env, given_to(env, size, tmp_path)
    for pipeline in DEFAULT:
        root = run(environment, given, pipeline)
    run(environment, given, "promotion")
    reports = root / "data/08_reporting" / env / "versions" / (size or "")
    [registered] = [json.loads(path.read_text()) for path in reports.glob("registered_models.json/*/*.json")]
    own = sized(env, size)["recipe"]
    assert {kind: row["name"] for kind, row in registered.items()} == {
        "embedder": f"ruri-{own}", "reranker": f"ruri-reranker-{own}",
    }  # fmt: skip
    [decision] = [json.loads(path.read_text()) for path in reports.glob("promotion_decision.json/*/*.json")]
    assert decision["name"] == f"ruri-{own}" and decision["verdicts"]
    assert (reports / "report.md").read_text("utf-8").startswith(f"# Evaluation of recipe {own}\n")
    tasks = set(sized(env, size)["tasks"])
    metrics = json.loads(next(reports.glob("metrics.json/*/metrics.json")).read_text())["finetuned"]
    assert tasks <= {name.rpartition("/")[0] for name in metrics}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("env", SIZES_OF)
def test_every_recipes_ablations_run_to_the_end(run, env, tmp_path, monkeypatch):
    size = SIZES_OF[env][0]
    given = merged(given_to(env, size, tmp_path), {"ablations": {"only": "table6 table12", "seeds": [1]}})
    benchmark = recipe("ruri")["ablations"]["benchmark"]["name"]
    with ExitStack() as stack:
        if size:  # its embedders are scored by JMTEB, whose data are on the hub
            stack.enter_context(stand_in_data([benchmark]))
            monkeypatch.setattr("ruri_kedro.benchmark.mteb.tasks.check_data", lambda *_, **__: None)
        root = run(None if env == "sample" else env, given, "ablations")
    report = (root / "data/08_reporting" / env / "versions" / (size or "") / "ablations.md").read_text("utf-8")
    assert "Table 6" in report and "Table 12" in report and "n/a" not in report


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("env", ["sample", "mini"])
def test_a_language_model_writes_about_the_recipes_own_texts(run, env):
    server = ChatServer()
    server.reply = answer
    sets = {name: {"count": 5, "min_chars": 10} for name in ("autowikiqa", "autowikinli")}
    model = {"name": "swallow", "base_url": server.url}
    root = run(None if env == "sample" else env, {"synthesis": {"model": model, "sets": sets}}, "synthesis")
    server.close()
    for name in sets:
        assert (root / f"data/01_raw/synthetic/{env}/{name}/rows.jsonl.gz").stat().st_size > 100
