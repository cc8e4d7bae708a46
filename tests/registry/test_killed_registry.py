"""Registration, promotion and rollback, killed before each write and done again, end as if nobody had been killed."""

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from killed_registry import forks, run_killed
from registered import NAME, OTHER_WORDS, PROMOTION, aliases, evidence, register, stored, tags

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.promotion import lease as leases
from ruri_kedro.registry.promotion import promote as promotion
from ruri_kedro.registry.promotion.decision import INTERRUPTED, PROMOTED, PROMOTING
from ruri_kedro.registry.versions import models
from ruri_kedro.registry.versions import registered as versions

RELEASED = f"{NAME}-released"
RERANKER = "ruri-reranker-tiny"
_OF_THE_MOMENT = {"promotion.time", "promotion.rolled_back", "promotion.report", "promotion.gate.latency",
                  versions.SIGNED, "promotion.model_id"}  # fmt: skip


def register_again(folder: Path, kind: str) -> None:
    import mlflow

    given = evidence(level=0.6, card=OTHER_WORDS)
    with mlflow.start_run():
        if kind == "embedder":
            models.register_embedder(folder / kind, NAME, {"ndcg@10": 0.6}, given)
        else:
            models.register_reranker(folder / kind, RERANKER, {"ndcg@10": 0.6}, given)


def promote(released: str) -> None:
    promotion.apply_decision(promotion.judge_version(PROMOTION | {"released": released}))


def roll_back(name: str) -> None:
    # Killed when all was done, the next one finds nothing to go back to.
    with suppress(RegistryError):
        promotion.rollback(name)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # threads would not live on in a fork
        yield forks()


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
        register(folders / "embedder", evidence(level=0.6))
        keep("better")
        for released in (NAME, RELEASED):
            promotion.apply_decision(promotion.judge_version(PROMOTION | {"released": released}))
        keep("two")
    return stages


def use(root: Path) -> None:
    import mlflow
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    _artifact_repos_cache.clear()  # the models of two copies of a store have the same ids

    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    mlflow.set_registry_uri(None)


def enter(root: Path) -> None:
    """Use a store in this process, its experiment included."""
    import mlflow

    use(root)
    mlflow.set_experiment("test")


def fresh(stage: Path, folder: Path) -> Path:
    """A copy of a store, whose addresses are its own."""
    from ruri_kedro.registry.runs.relocation import follow_project

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
        found[model.name] = {"aliases": dict(model.aliases), "versions": kept, "tags": tags_of(model)}
        for row in rows:
            assert row.tags.get(versions.SIGNED), "a version without a manifest"
            assert versions.logged_evidence(model.name, int(row.version)).manifest
            check_record(root, model.name, row, model.aliases)
    experiment = mlflow.get_experiment_by_name("test").experiment_id
    logged = client.search_logged_models([experiment])
    found["pending"] = [model.model_id for model in logged if model.tags["registration.pending"] != "no"]
    found["models"] = len(logged)
    found["folders"] = len(list((root / "mlruns/models").glob("*/artifacts/MLmodel")))
    return found


def tags_of(model) -> dict:
    """Tags of a registered model; the next one to hold it removes the lease of the dead."""
    return {key: value for key, value in model.tags.items() if not key.startswith("promotion.lease.")}


def check_record(root: Path, name: str, version, aliases: dict) -> None:
    """The decision on a version is what became of it, and its report is on file."""
    decision = version.tags.get("promotion.decision")
    if decision is not None:
        assert PROMOTING not in decision and "being rolled back" not in decision
        files = root / "mlruns/models" / versions.logged_model_id(version) / "artifacts"
        report = files / version.tags["promotion.report"]
        assert json.loads((report / "decision.json").read_text("utf-8"))["promoted"]
    if aliases.get("champion") == version.version:
        assert decision == PROMOTED


def check_at_once(root: Path) -> None:
    """Straight after a kill: every version is whole, and no record says promoted of what is not."""
    import mlflow

    use(root)
    client = mlflow.MlflowClient()
    models_there = client.search_registered_models()
    leading = {(model.name, int(number)) for model in models_there for alias, number in model.aliases.items()
               if alias != "challenger"}  # fmt: skip
    leading |= {versions.original_of(*place) for place in leading}
    for model in models_there:
        for row in client.search_model_versions(f"name='{model.name}'"):
            assert row.tags.get(versions.SIGNED) and versions.logged_evidence(model.name, int(row.version)).manifest
            if row.tags.get("promotion.decision") == PROMOTED:
                assert (model.name, int(row.version)) in leading, "a wrong record"


# What is begun with, the deed, what it is told, and every which of its writes is killed.
DEEDS = {
    "embedder": ("registered", register_again, "embedder", 1),
    "reranker": ("registered", register_again, "reranker", 3),
    "first": ("registered", promote, NAME, 3),
    "promotion": ("better", promote, NAME, 1),
    "release": ("better", promote, RELEASED, 2),
    "rollback": ("two", roll_back, NAME, 1),
    "rollback of a release": ("two", roll_back, RELEASED, 1),
}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", DEEDS)
def test_killed_before_each_write(context, begun, folders, tmp_path, name):
    stage, deed, argument, step = DEEDS[name]
    arguments = (folders, argument) if deed is register_again else (argument,)
    whole = fresh(begun[stage], tmp_path / "whole")
    writes = run_killed(context, deed, whole, 0, *arguments)
    wanted, kills = state(whole), range(1, writes + 1, step)
    for number in kills:
        root = fresh(begun[stage], tmp_path / f"killed-{number}")
        assert run_killed(context, deed, root, number, *arguments) is None, "was not killed"
        check_at_once(root)
        run_killed(context, deed, root, 0, *arguments)
        assert state(root) == wanted, f"killed before write {number} of {writes}"
        shutil.rmtree(root)
    print(f"{name}: killed {len(kills)} times, {writes} writes")
    assert len(kills) > 5


class Killed(BaseException):
    """Stands for a kill where a process of its own would cost too much."""


def kill_before(patch, method: str, call: int = 1) -> None:
    """Let the `call`-th call of a method of MLflow's client be the end."""
    from mlflow.tracking import MlflowClient

    original, calls = getattr(MlflowClient, method), []

    def counted(self, *args, **kwargs):
        calls.append(method)
        if len(calls) == call:
            raise Killed
        return original(self, *args, **kwargs)

    patch.setattr(MlflowClient, method, counted)


@pytest.mark.parametrize("method", ["create_model_version", "set_registered_model_alias"])
def test_a_registration_that_was_cut_off_is_done_once(begun, folders, tmp_path, monkeypatch, method):
    whole, cut = (fresh(begun["registered"], tmp_path / name) for name in ("whole", "cut"))
    enter(whole)
    register(folders / "embedder", evidence(level=0.6))
    enter(cut)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_before(patch, method)
        register(folders / "embedder", evidence(level=0.6))
    check_at_once(cut)
    assert register(folders / "embedder", evidence(level=0.6)) == 2
    assert state(cut) == state(whole)


def test_the_same_again_is_the_version_that_is_there(begun, folders, tmp_path, caplog):
    """Also for another run and commit; other scores make another version."""
    enter(fresh(begun["registered"], tmp_path / "store"))

    def of_run(ident: str, level: float = 0.6):
        given = evidence(level, card=f"# tiny\n\n## How it was made\n\n- Evaluated: `{ident}`\n\n## Limits\n\n- none\n")
        made = {"made": {"run_id": ident}, "data": {"pairs": "aaa", "git_commit": ident}}
        return replace(given, training={**given.training, **made})

    assert register(folders / "embedder", of_run("a")) == 2
    with caplog.at_level("INFO"):
        assert register(folders / "embedder", of_run("b")) == 2
    assert "ruri-tiny version 2 is the same model with the same evidence" in caplog.text
    assert register(folders / "embedder", of_run("b", level=0.7)) == 3
    assert register(folders / "embedder") == 1 and aliases() == {"challenger": 1}
    import mlflow

    run_id = mlflow.last_active_run().info.run_id
    assert [str(found) for found in models.registered_by(run_id)] == ["ruri-tiny version 1 (challenger)"]


def test_a_damaged_version_is_registered_again(begun, folders, tmp_path):
    root = fresh(begun["registered"], tmp_path / "store")
    enter(root)
    weights = stored(1, root) / "model.sentence_transformer/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert register(folders / "embedder") == 2 and aliases() == {"challenger": 2}


def test_what_a_living_process_is_registering_stays(begun, folders, tmp_path):
    import mlflow

    root = fresh(begun["registered"], tmp_path / "store")
    enter(root)
    client = mlflow.MlflowClient()
    experiment = mlflow.get_experiment_by_name("test").experiment_id
    run = client.create_run(experiment)
    at_work = client.create_logged_model(
        experiment, name="embedder", source_run_id=run.info.run_id, tags={"registration.pending": NAME}
    )
    register(folders / "embedder", evidence(level=0.6))
    assert client.get_logged_model(at_work.model_id)
    client.set_terminated(run.info.run_id, "KILLED")
    register(folders / "embedder", evidence(level=0.7))
    assert at_work.model_id not in {model.model_id for model in client.search_logged_models([experiment])}


@pytest.mark.parametrize(
    ("released", "method", "call"),
    [
        (RELEASED, "set_registered_model_alias", 1),
        (NAME, "set_registered_model_alias", 2),
        (NAME, "delete_registered_model_tag", 1),
    ],
)
def test_a_promotion_that_was_cut_off_is_finished(begun, tmp_path, monkeypatch, released, method, call):
    whole, cut = (fresh(begun["better"], tmp_path / name) for name in ("whole", "cut"))
    enter(whole)
    promote(released)
    enter(cut)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_before(patch, method, call)
        promote(released)
    check_at_once(cut)
    monkeypatch.setattr(leases, "is_dead", lambda process: True)  # the lease that could not be given back
    promote(released)
    assert state(cut) == state(whole)


def test_a_rollback_that_was_cut_off_goes_back_once(begun, tmp_path, monkeypatch):
    root = fresh(begun["two"], tmp_path / "store")
    enter(root)
    register_third(root)
    assert promotion.rollback(NAME) == (2, 3)
    other = fresh(root, tmp_path / "other")
    enter(other)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_before(patch, "delete_registered_model_alias")
        promotion.rollback(NAME)
    assert promotion.rollback(NAME) == (1, 2) and aliases() == {"challenger": 3, "champion": 1}
    with pytest.raises(RegistryError, match="no previous champion"):
        promotion.rollback(NAME)


def register_third(root: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    made = client.create_model_version(NAME, f"models:/{NAME}/2", tags=client.get_model_version(NAME, "2").tags)
    client.set_model_version_tag(NAME, made.version, "promotion.replaced", "2")
    for alias, number in (("challenger", "3"), ("previous", "2"), ("champion", "3")):
        client.set_registered_model_alias(NAME, alias, number)


def test_a_refusal_does_not_overwrite_the_record_of_another_promotion(begun, tmp_path):
    """Both judged version 2 at the same time, one by rules that refuse it."""
    enter(fresh(begun["better"], tmp_path / "store"))
    strict = promotion.judge_version(PROMOTION | {"size_mb": {"embedder": 0.01, "reranker": 0, "multi_vector": 0}})
    promote(NAME)
    with pytest.raises(RegistryError, match=r"made the champion by another promotion .*\(refused: size\)\. Its record"):
        promotion.apply_decision(strict)
    assert tags(2)["promotion.decision"] == PROMOTED and "fail" not in tags(2)["promotion.gate.size"]


def test_two_decisions_of_the_same_second_keep_their_reports(begun, tmp_path):
    root = fresh(begun["better"], tmp_path / "store")
    enter(root)
    for size in (0.01, 0.02):
        decision = promotion.judge_version(
            PROMOTION | {"size_mb": {"embedder": size, "reranker": 0, "multi_vector": 0}}
        )
        promotion.apply_decision(replace(decision, time="2026-01-02T03:04:05Z"))
    assert len(list((stored(2, root) / "promotion").iterdir())) == 2


def test_what_became_of_an_interrupted_promotion_is_said(begun, tmp_path):
    """Killed before the alias moved, and another version was promoted then."""
    import mlflow

    enter(fresh(begun["better"], tmp_path / "store"))
    client = mlflow.MlflowClient()
    client.set_model_version_tag(NAME, "2", "promotion.decision", PROMOTING)
    client.set_registered_model_alias(NAME, "previous", "1")
    with pytest.raises(RegistryError, match="no previous champion to go back to"):
        promotion.rollback(NAME)
    assert client.get_model_version(NAME, "2").tags["promotion.decision"] == INTERRUPTED
    assert aliases() == {"challenger": 2, "champion": 1}
