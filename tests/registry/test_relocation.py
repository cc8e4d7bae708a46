"""A project that was moved or copied reads and writes its own files, never those of the place where it stood."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from registered import NAME, PROMOTION, aliases, evidence, register

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.promotion import promote as promotion
from ruri_kedro.registry.runs.relocation import follow_project
from ruri_kedro.registry.versions import registered as versions
from ruri_kedro.registry.versions.registered import model_folder

# What MLflow's tables say of the past on purpose: what was run, and where its data were.
_HISTORY = {("tags", "value"), ("logged_model_tags", "tag_value"), ("datasets", "dataset_source")}


@pytest.fixture(scope="module")
def origin(empty_store, folders, tmp_path_factory) -> Path:
    """A project of a name that an address encodes, with a champion."""
    import mlflow

    root = tmp_path_factory.mktemp("moved") / "検索 1"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        use(root)
        mlflow.create_experiment("ruri", artifact_location=(root / "mlruns").as_uri())
        mlflow.set_experiment("ruri")
        register(folders / "embedder")
        promotion.apply_decision(promotion.judge_version(PROMOTION | {"released": "{model}-released"}))
    return root


def use(root: Path) -> None:
    """Let MLflow use the store of a project."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    mlflow.set_registry_uri(None)
    if mlflow.get_experiment_by_name("ruri"):
        mlflow.set_experiment("ruri")


def follow(root: Path) -> None:
    follow_project(root / "mlflow.db", root, "ruri", "mlruns")
    use(root)


def files(root: Path) -> dict[str, int]:
    """Every file below a folder, and when it was written."""
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}


def addresses_below(root: Path) -> set[tuple[str, str]]:
    """The columns of the project's database that have an address below the folder."""
    found = set()
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, *_ in database.execute(f"PRAGMA table_info('{table}')").fetchall():
                values = [str(row[0]) for row in database.execute(f'SELECT "{column}" FROM "{table}"')]
                if any(str(root) in value or root.as_uri() in value for value in values):
                    found.add((table, column))
    return found


def test_a_copy_reads_and_writes_its_own_files_only(origin, folders, tmp_path):
    before = files(origin)
    copy = shutil.copytree(origin, tmp_path / "copy")
    assert not addresses_below(copy), "as it is copied, all its addresses are those of the original"
    follow(copy)
    assert {("runs", "artifact_uri"), ("model_versions", "storage_location")} <= addresses_below(copy)
    for reference in (f"{NAME}@challenger", f"{NAME}-released@champion"):
        assert model_folder(f"models:/{reference}").is_relative_to(copy)
        assert versions.load(reference)
    register(folders / "embedder", evidence(level=0.6))
    assert aliases() == {"challenger": 2} and model_folder(f"models:/{NAME}/2").is_relative_to(copy)
    decision = promotion.judge_version(PROMOTION | {"released": "{model}-released"})
    promotion.apply_decision(decision)
    assert decision.promoted and versions.logged_evidence(NAME, 1).scores
    assert files(origin) == before


def test_no_address_of_the_old_place_is_left(origin, tmp_path):
    copy = shutil.copytree(origin, tmp_path / "copy")
    follow(copy)
    moved = copy.rename(tmp_path / "moved again")
    before = addresses_below(moved)
    follow(moved)
    assert not before and len(addresses_below(moved)) >= 4
    with closing(sqlite3.connect(moved / "mlflow.db")) as database:
        dump = "\n".join(line for line in database.iterdump() if not any(t in line for t, _ in _HISTORY))
    for root in (origin, copy):
        assert str(root) not in dump and root.as_uri() not in dump


def test_a_moved_project_works_where_the_old_place_is_gone(origin, tmp_path):
    first = shutil.copytree(origin, tmp_path / "first")
    follow(first)
    second = first.rename(tmp_path / "second")
    follow(second)
    assert versions.load(f"{NAME}@challenger") and not first.exists()


def test_files_that_were_left_behind_are_named_with_the_command(origin, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(origin / "mlflow.db", copy)
    with pytest.raises(RegistryError, match=r"cp -r '.*検索 1/mlruns' '.*copy/mlruns'"):
        follow(copy)
    use(origin)  # nothing was changed: the copy still leads there
    assert not addresses_below(copy)
    shutil.copytree(origin / "mlruns", copy / "mlruns")
    follow(copy)
    assert versions.load(f"{NAME}@challenger")


def test_files_that_are_nowhere_are_named(origin, tmp_path, caplog):
    copy = shutil.copytree(origin, tmp_path / "copy")
    follow(copy)
    moved = copy.rename(tmp_path / "moved")
    shutil.rmtree(moved / "mlruns")
    follow(moved)
    assert "The files of 1 logged models are not in" in caplog.text
    for call in (lambda: versions.load(f"{NAME}@challenger"), lambda: versions.logged_evidence(NAME, 1)):
        with pytest.raises(RegistryError, match=r"version 1: its files should be in .*/moved/mlruns/models/.* missing"):
            call()
    assert not (tmp_path / "copy").exists()


def test_a_database_that_cannot_be_written_is_named(origin, tmp_path, monkeypatch):
    copy = shutil.copytree(origin, tmp_path / "copy")
    monkeypatch.setattr("ruri_kedro.registry.runs.relocation._WAIT", 0.01)
    with closing(sqlite3.connect(copy / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryError, match=r"mlflow\.db: its addresses lead to .*database is locked"):
            follow_project(copy / "mlflow.db", copy, "ruri", "mlruns")


@pytest.mark.parametrize(
    ("experiment", "folder"), [("ruri", "/elsewhere/mlruns"), ("ruri", "s3://bucket/mlruns"), ("other", "mlruns")]
)
def test_files_that_are_elsewhere_on_purpose_stay(origin, tmp_path, experiment, folder):
    copy = shutil.copytree(origin, tmp_path / "copy")
    follow_project(copy / "mlflow.db", copy, experiment, folder)
    follow_project(copy / "mlflow.db", tmp_path / "a project beside it", "ruri", "mlruns")
    follow_project(copy / "none.db", copy, "ruri", "mlruns")
    assert not addresses_below(copy)
