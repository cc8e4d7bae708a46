"""conf/ruri-released: the data sets of the paper's authors with their negatives, on stand-ins of the published form."""

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bases import BASES
from click.testing import CliRunner
from hub_repositories import hub_repositories
from kedro_project import REPOSITORY, empty_store
from recipes import recipe
from released_data import FT, PT, write_released
from small_runs import DEFAULT, SMALL, merged

from ruri_kedro.corpora.reading import drafts
from ruri_kedro.corpora.rows import check_sources
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError
from ruri_kedro.recipe.blocks import faults_in
from ruri_kedro.recipe.revisions import named

RELEASED = recipe("ruri-released")
SOURCES = RELEASED["sources"]


def in_folders(rows: dict, hub: Path) -> dict:
    """The sources, with copies in folders in place of the data sets on the hub."""
    return {name: {**row, "hub": {**row["hub"], "id": str(hub / row["hub"]["id"])}} for name, row in rows.items()}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    write_released(folder, 3)
    return folder


def test_all_but_the_sources_is_the_papers():
    ours, paper = RELEASED, recipe("ruri")
    assert list(faults_in(ours)) == []
    for name in ("base_model", "pretraining", "reranking", "finetuning", "evaluation", "mining", "tasks", "tested_on"):
        kept = json.loads(json.dumps(paper[name]).replace("/ruri/", "/ruri-released/"))
        assert ours[name] == kept, name
    assert ours["recipe"] == "released-base" and ours["promotion"]["model"] == "ruri-released-base"


def test_the_papers_numbers_are_its_own_files():
    """So that none is inherited from the toy recipe of conf/base where the paper names one (test_recipes.py)."""
    files = {path.name: path for path in (REPOSITORY / "conf/ruri-released").iterdir()}
    linked = {
        name for name, path in files.items() if path.is_symlink() and path.samefile(REPOSITORY / "conf/ruri" / name)
    }
    assert {path.name for path in (REPOSITORY / "conf/ruri").iterdir()} <= files.keys()
    assert files.keys() - linked == {"globals.yml", "parameters_ablations.yml", "parameters_sources.yml"}


def test_nothing_is_mined_and_nothing_written_by_a_language_model():
    for source in parse_sources(SOURCES).values():
        assert source.origin == "given" and source.collection is None
        assert [row["negatives"] for stage in source.stages for row in source.rows_of(stage)] == ["given"]


def test_each_stage_has_the_configurations_of_its_table_with_their_counts():
    def of(stage):
        return {row["hub"]["name"]: row["stages"][stage].get("expected_rows")
                for row in SOURCES.values() if stage in row["stages"]}  # fmt: skip

    assert of("pretraining") == dict.fromkeys(PT)
    assert of("reranking_stage1") == {"stage1": 620_653} and of("reranking_stage2") == {"stage2": 51_427}
    assert sum(of("finetuning").values()) == 292_864 and of("finetuning").keys() < set(FT)
    taught = {row["hub"]["name"] for row in SOURCES.values()
              if row["stages"].get("finetuning", {}).get("objective") == "distillation"}  # fmt: skip
    assert taught == {"quiz-no-mori", "quiz-works", "jqara", "miracl", "mr-tydi"}


@pytest.mark.parametrize("name", SOURCES)
def test_a_configuration_becomes_pairs_with_the_authors_negatives(hub, name):
    source = parse_sources(in_folders(SOURCES, hub))[name]
    found = list(drafts(source, hub))
    splits = [split for split, _ in found]
    assert splits == ["train"] * 3 + (["validation"] * 3 if name == "reranker_stage2" else [])
    for _, draft in found:
        assert draft.anchor.text and draft.positive.text and len(draft.negatives) == 3


@pytest.mark.parametrize("name", FT)
def test_all_sixteen_configurations_are_read_by_such_a_row(hub, name):
    row = {**SOURCES["ft_jqara"], "hub": {"id": str(hub / "cl-nagoya/ruri-dataset-ft"), "name": name}}
    assert check_sources(parse_sources({"s": row}), hub) is None


def test_other_columns_are_an_error_that_lists_those_found(hub, tmp_path):
    shutil.copytree(hub / "cl-nagoya/ruri-dataset-reranker", tmp_path / "cl-nagoya/ruri-dataset-reranker")
    file = tmp_path / "cl-nagoya/ruri-dataset-reranker/stage1/train-00000-of-00001.parquet"
    table = pq.read_table(file)
    names = {"anc": "query", "pos": "positive", "neg": "negatives"}
    pq.write_table(table.rename_columns([names.get(name, name) for name in table.column_names]), file)
    rows = {"reranker_stage1": SOURCES["reranker_stage1"]}
    with pytest.raises(DataError) as error:
        check_sources(parse_sources(in_folders(rows, tmp_path)), tmp_path)
    said = "field 'anc': missing. The row has: negatives, positive, query, source. Name the right one under `fields`."
    assert said in str(error.value)


def small(size: str) -> dict:
    """What is given beside the recipe for a small machine and small data."""
    return merged(SMALL, {
        "size": size,
        "run": {"allow_untrained": True},
        "tasks": {"jacolbert_mrtydi": {"corpus": {"sampled": {"random": 20}}}},  # of 100,000
        "tested_on": [],  # benchmarks of mteb are on the hub
    })  # fmt: skip


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A project with conf/ as it is, and a hub with all that the recipe names."""
    from kedro.framework.startup import bootstrap_project
    from stand_in_data import write_papers_corpora

    from ruri_kedro.models.base import build_cross_encoder

    root = tmp_path / "project"
    shutil.copytree(REPOSITORY / "conf", root / "conf", symlinks=True)
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    (root / "src").mkdir()
    shutil.copy(empty_store(), root / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "KEDRO_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(root)
    bootstrap_project(root)
    write_papers_corpora(root / "data/01_raw/ruri", tmp_path / "sets")
    write_released(tmp_path / "sets", 30)
    models = {row.repository.id for row in named(RELEASED) if row.repository.kind == "model"}
    with hub_repositories() as hub:
        hub.add(tmp_path / "sets")
        for name in models:
            folder = tmp_path / "models" / name
            kind = "line" if name.startswith("line") else "roberta" if "e5" in name else "tohoku"
            hub.folders["models", name] = folder
            hub.refs[name] = ["refs/pr/2", "refs/pr/5"]
            if "reranker" in name:
                BASES["tohoku"](tmp_path / "body", positions=512)
                build_cross_encoder(tmp_path / "body", 512, 0).save_pretrained(str(folder))
            else:
                BASES[kind](folder, positions=512)
        for name in ("ft", "reranker", "v2-pt"):
            card = tmp_path / f"sets/cl-nagoya/ruri-dataset-{name}/card.json"
            hub.facts[f"cl-nagoya/ruri-dataset-{name}"] = {"cardData": json.loads(card.read_text())}
            card.unlink()
        hub.use(monkeypatch, tmp_path / "home")
        yield root


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_recipe_is_pinned_and_runs_to_the_end(served):
    from kedro.framework.session import KedroSession

    from ruri_kedro.cli.commands import cli

    done = CliRunner().invoke(cli, ["ruri", "pin", "--env", "ruri-released"])
    assert done.exit_code == 0, done.output
    rows = {
        line.split()[0]: re.split(r"\s{2,}", line) for line in done.output.splitlines() if "cl-nagoya/ruri-d" in line
    }
    assert {name.rpartition("-")[2]: row[3] for name, row in rows.items() if len(row) > 3} == {
        "ft": "240", "reranker": "90", "pt": "360",
    }  # fmt: skip
    for pipeline in DEFAULT:
        with KedroSession.create(project_path=served, env="ruri-released", runtime_params=small("small")) as session:
            session.run(pipeline_names=[pipeline])
    reports = served / "data/08_reporting/ruri-released/versions/small"
    [registered] = [json.loads(path.read_text()) for path in reports.glob("registered_models.json/*/*.json")]
    assert {row["name"] for row in registered.values()} == {"ruri-released-small", "ruri-reranker-released-small"}
    indexes = served / "data/04_feature/ruri-released"
    assert not [path for path in indexes.rglob("*") if path.name.endswith((".faiss", ".si"))], "nothing was searched"
