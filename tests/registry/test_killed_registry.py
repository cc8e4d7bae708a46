"""Registration, promotion and rollback, killed before each write and done again, end as if nobody had been killed."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from killed_registry import forks, run_killed
from registered import NAME, OTHER_WORDS, PROMOTION, dossier, register

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry import models, promotion, versions
from ruri_kedro.registry.decision import INTERRUPTED, PROMOTED, PROMOTING

RELEASED = f"{NAME}-released"
RERANKER = "ruri-reranker-tiny"
_OF_THE_MOMENT = {"promotion.time", "promotion.rolled_back", "promotion.report", "promotion.gate.latency",
                  versions.SIGNED, "promotion.model_id"}  # fmt: skip


def register_again(folder: Path, kind: str) -> None:
    import mlflow

    given = dossier(level=0.6, card=OTHER_WORDS)
    with mlflow.start_run():
        if kind == "embedder":
            models.register_embedder(folder / kind, NAME, {"ndcg@10": 0.6}, dossier=given)
        else:
            models.register_reranker(folder / kind, RERANKER, {"ndcg@10": 0.6}, dossier=given)


def promote(released: str) -> None:
    promotion.apply_decision(promotion.judge_version(PROMOTION | {"released": released}))


def roll_back(name: str) -> None:
    # Killed when all was done, the next one finds nothing to go back to.
    with suppress(RegistryError):
        promotion.rollback(name)


@pytest.fixture(scope="module")
def context():
    return forks()


@pytest.fixture(scope="module")
def begun(empty_store, folders, tmp_path_factory):
    """Stores by what happened there: version 1 registered; then promoted; then version 2, better; then that, too."""
    import mlflow

    root = tmp_path_factory.mktemp("begun")
    shutil.copy(empty_store, root / "mlflow.db")
    stages = {}

    def keep(stage: str) -> None:
        stages[stage] = Path(shutil.copytree(root, tmp_path_factory.mktemp(stage) / "store"))

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        use(root)
        mlflow.create_experiment("test", artifact_location=(root / "mlruns").as_uri())
        mlflow.set_experiment("test")
        register(folders / "embedder")
        keep("registered")
        for released in (NAME, RELEASED):
            promote(released)
        register(folders / "embedder", dossier(level=0.6))
        keep("better")
        for released in (NAME, RELEASED):
            promotion.apply_decision(promotion.judge_version(PROMOTION | {"released": released}))
        keep("two")
    return stages


def use(root: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    mlflow.set_registry_uri(None)


def fresh(stage: Path, folder: Path) -> Path:
    """A copy of a store, whose addresses are its own."""
    from ruri_kedro.registry.relocation import follow_project

    copy = Path(shutil.copytree(stage, folder))
    follow_project(copy / "mlflow.db", copy, "test", "mlruns")
    return copy


def state(root: Path) -> dict:
    """Aliases, versions with their tags and evidence, decisions on file, and what is left of something unfinished."""
    import mlflow

    use(root)
    client = mlflow.MlflowClient()
    found = {}
    for model in client.search_registered_models():
        rows = client.search_model_versions(f"name='{model.name}'")
        kept = {int(row.version): {k: v for k, v in row.tags.items() if k not in _OF_THE_MOMENT} for row in rows}
        found[model.name] = {"aliases": dict(model.aliases), "versions": kept, "tags": dict(model.tags)}
        for row in rows:
            assert row.tags.get(versions.SIGNED), "a version without a manifest"
            assert versions.logged_evidence(model.name, int(row.version)).manifest
            check_record(root, model.name, row, model.aliases)
    experiment = mlflow.get_experiment_by_name("test").experiment_id
    logged = client.search_logged_models([experiment])
    found["pending"] = [model.model_id for model in logged if "registration.pending" in model.tags]
    found["models"] = len(logged)
    found["folders"] = len(list((root / "mlruns/models").glob("*/artifacts/MLmodel")))
    return found


def check_record(root: Path, name: str, version, aliases: dict) -> None:
    """The decision on a version is what became of it."""
    decision = version.tags.get("promotion.decision")
    if decision is not None:
        assert PROMOTING not in decision and "being rolled back" not in decision
        report = (
            root / "mlruns/models" / versions.logged_model_id(version) / "artifacts" / version.tags["promotion.report"]
        )
        assert json.loads((report / "decision.json").read_text("utf-8"))["promoted"]
    if decision == PROMOTED:
        assert aliases.get("champion") == version.version or aliases.get("previous") == version.version
    if aliases.get("champion") == version.version:
        assert decision == PROMOTED


def check_at_once(root: Path) -> None:
    """Straight after a kill: every version is whole, an alias leads to one, and no record says what is not so."""
    import mlflow

    use(root)
    client = mlflow.MlflowClient()
    for model in client.search_registered_models():
        for row in client.search_model_versions(f"name='{model.name}'"):
            assert row.tags.get(versions.SIGNED) and versions.logged_evidence(model.name, int(row.version)).manifest
            if row.tags.get("promotion.decision") == PROMOTED:
                assert row.version in (model.aliases.get("champion"), model.aliases.get("previous")), "a wrong record"


DEEDS = {
    "embedder": ("registered", register_again, "embedder"),
    "reranker": ("registered", register_again, "reranker"),
    "first": ("registered", promote, NAME),
    "promotion": ("better", promote, NAME),
    "release": ("better", promote, RELEASED),
    "rollback": ("two", roll_back, NAME),
    "rollback of a release": ("two", roll_back, RELEASED),
}


def try_kills(context, begun, folders, tmp_path, name: str, chosen) -> list[int]:
    """Kill a deed before its writes, of `chosen` the n-th; gives those at which it was killed."""
    stage, deed, argument = DEEDS[name]
    arguments = (folders, argument) if deed is register_again else (argument,)
    whole = fresh(begun[stage], tmp_path / "whole")
    writes = run_killed(context, deed, whole, 0, *arguments)
    wanted, killed = state(whole), []
    for number in chosen(writes):
        root = fresh(begun[stage], tmp_path / f"killed-{number}")
        assert run_killed(context, deed, root, number, *arguments) is None, "was not killed"
        check_at_once(root)
        run_again(context, deed, root, arguments)
        assert state(root) == wanted, f"killed before write {number} of {writes}"
        killed.append(number)
        shutil.rmtree(root)
    return killed


def run_again(context, deed, root: Path, arguments) -> None:
    run_killed(context, deed, root, 0, *arguments)


def deed_is_short(name: str) -> bool:
    return name.startswith("rollback")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DEEDS)
def test_killed_before_each_write(context, begun, folders, tmp_path, name):
    killed = try_kills(context, begun, folders, tmp_path, name, lambda writes: range(1, writes + 1))
    print(f"{name}: killed {len(killed)} times")
    assert len(killed) >= (7 if deed_is_short(name) else 20)


def test_what_became_of_an_interrupted_promotion_is_said(begun, tmp_path):
    """Killed before the alias moved, and another version was promoted then."""
    import mlflow

    root = fresh(begun["better"], tmp_path / "store")
    use(root)
    client = mlflow.MlflowClient()
    client.set_model_version_tag(NAME, "2", "promotion.decision", PROMOTING)
    client.set_registered_model_alias(NAME, "previous", "1")
    with pytest.raises(RegistryError, match="no previous champion to go back to"):
        promotion.rollback(NAME)
    assert client.get_model_version(NAME, "2").tags["promotion.decision"] == INTERRUPTED
    assert client.get_registered_model(NAME).aliases == {"challenger": "2", "champion": "1"}
