"""What the registry calls the best is served, and a promotion or rollback is taken over while the service runs."""

import shutil
import time

import mlflow
import pytest
from fastapi.testclient import TestClient
from kedro_project import empty_store
from registered import NAME, OTHER_WORDS, evidence, register, stored
from service import start

from ruri_kedro.errors import RegistryError
from ruri_kedro.service.app import create_app
from ruri_kedro.service.selection import Choice, Selection

PROMOTION = {"model": NAME, "released": None}
NONE = {"model": None, "compared": None, "reranker": None}


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A folder with a store of its own, which is the tracking store of this test."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store(), tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.create_experiment("service", artifact_location=(tmp_path / "mlruns").as_uri())
    mlflow.set_experiment("service")
    return tmp_path


def chosen(**named):
    return {place: one.label for place, one in Selection.of(NONE | named, PROMOTION, "tiny").now().items()}


def set_alias(alias, number):
    mlflow.MlflowClient().set_registered_model_alias(NAME, alias, str(number))


def vector_of(client):
    return client.post("/embed", json={"inputs": "東京の駅"}).json()[0]


def test_champion_challenger_and_those_that_are_named(store, folders):
    with pytest.raises(RegistryError, match="nothing to serve: 'ruri-tiny' has neither champion nor challenger"):
        chosen()
    register(folders / "embedder")
    assert chosen() == {"model": f"{NAME}/1"}  # the challenger
    register(folders / "other", evidence(card=OTHER_WORDS))
    set_alias("champion", 1)
    assert chosen() == {"model": f"{NAME}/1"}
    assert chosen(model=f"models:/{NAME}@challenger")["model"] == f"{NAME}/2"
    assert chosen(model=f"models:/{NAME}/2", compared=f"models:/{NAME}") == {
        "model": f"{NAME}/2",
        "compared": f"{NAME}/1",
    }
    with pytest.raises(RegistryError, match="has no 'nobody'"):
        chosen(model=f"models:/{NAME}@nobody")


def test_a_promotion_and_a_rollback_reach_the_running_service(store, folders):
    register(folders / "embedder")
    set_alias("champion", 1)
    champion = Choice((f"models:/{NAME}@champion", f"models:/{NAME}@challenger"))
    with TestClient(create_app(start(store, champion))) as client:
        before = vector_of(client)
        register(folders / "other", evidence(card=OTHER_WORDS))
        set_alias("champion", 2)
        wait_for(client, f"{NAME}/2")
        after = vector_of(client)
        assert after != before
        answer = client.post("/v1/embeddings", json={"input": "東京の駅", "model": NAME}).json()
        assert answer["model"] == f"{NAME}/2" and answer["data"][0]["embedding"] == pytest.approx(after)
        assert client.post("/v1/embeddings", json={"input": "駅", "model": f"{NAME}/1"}).status_code == 404
        set_alias("champion", 1)
        wait_for(client, f"{NAME}/1")
        assert vector_of(client) == before
        assert "ruri_model_swaps_total 2" in client.get("/metrics").text


def test_a_champion_that_is_not_to_be_trusted_is_not_taken_over(store, folders, caplog):
    register(folders / "embedder")
    set_alias("champion", 1)
    with TestClient(create_app(start(store, Choice((f"models:/{NAME}@champion",))))) as client:
        register(folders / "other", evidence(card=OTHER_WORDS))
        (weights,) = stored(2, store).rglob("model.safetensors")
        weights.write_bytes(weights.read_bytes()[:-2] + b"\x00\x01")
        set_alias("champion", 2)
        deadline = time.monotonic() + 60
        while "what is served stays as it is" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "not to be trusted" in caplog.text
        assert client.get("/about").json()["models"] == {"model": f"{NAME}/1"}
        time.sleep(0.3)
        assert caplog.text.count("what is served stays as it is") == 1


def wait_for(client, label):
    deadline = time.monotonic() + 60
    while client.get("/about").json()["models"]["model"] != label:
        assert time.monotonic() < deadline
        time.sleep(0.05)
