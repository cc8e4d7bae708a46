"""Registered models as others load and serve them."""

import json
import os
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from background import free_port, running
from registered import NAME, dossier, register, stored

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry import models, versions

RERANKER = "ruri-reranker-tiny"
PAIRS = [["東京の駅はいつ建てたか。", "東京の駅は1901年に市が建てた。"], ["東京の駅はいつ建てたか。", "京都の図書館"]]


@pytest.fixture
def registered(store, folders):
    """Both models, registered with dossiers; the folder of the store."""
    import mlflow

    register(folders / "embedder")
    given = replace(dossier(), tests={name: {"category": "reranking", "digest": name} for name in dossier().tests})
    with mlflow.start_run():
        models.register_reranker(folders / "reranker", RERANKER, {}, dossier=given)
    return store


def test_both_kinds_are_loaded_with_their_files_checked(registered, folders):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    embedder, reranker = versions.load(NAME), versions.load(f"models:/{RERANKER}@challenger")
    expected = SentenceTransformer(str(folders / "embedder"), device="cpu").encode("駅", prompt_name="query")
    assert np.array_equal(embedder.encode("駅", prompt_name="query"), expected)
    expected = CrossEncoder(str(folders / "reranker"), device="cpu").predict(PAIRS)
    assert np.allclose(reranker.predict(PAIRS), expected, atol=1e-6)


@pytest.mark.parametrize("name", [NAME, RERANKER])
def test_both_have_a_signature_and_an_example_that_fits_it(registered, name):
    from mlflow.models import Model, validate_schema

    root = stored(1, registered, name)
    model = Model.load(str(root))
    assert model.signature.inputs and model.signature.outputs
    validate_schema(model.load_input_example(str(root)), model.signature.inputs)


def flip(path) -> None:
    """Change the last bit of a file."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_changed_weights_are_not_loaded(registered):
    import mlflow

    flip(stored(1, registered) / "model.sentence_transformer/model.safetensors")
    with pytest.raises(RegistryError, match=r"ruri-tiny version 1 is not to be trusted: .*model\.safetensors has SHA"):
        versions.load(NAME)
    with pytest.raises(RegistryError, match="is not to be trusted"):
        models.embedder_folder(f"models:/{NAME}@challenger")
    # The reranker's code goes with it, so MLflow itself runs the check.
    mlflow.pyfunc.load_model(f"models:/{RERANKER}@challenger")
    flip(stored(1, registered, RERANKER) / "artifacts/reranker/model.safetensors")
    with pytest.raises(RuntimeError, match=r"model\.safetensors is not as it was registered"):
        mlflow.pyfunc.load_model(f"models:/{RERANKER}@challenger")


@contextmanager
def served(folder, log):
    """`mlflow models serve` of a folder; gives a function that asks it."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(folder), "--env-manager", "local",
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def ask(body: dict) -> list:
        request = urllib.request.Request(
            f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["predictions"]

    # MLflow calls uvicorn by its name.
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    with running(command, f"{address}/ping", log, environment):
        yield ask


@pytest.mark.slow
def test_mlflow_serves_what_was_fetched(registered, folders, tmp_path):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    embedder = versions.fetch(NAME, "challenger", tmp_path / "embedder")
    with served(embedder, tmp_path / "embedder.log") as ask:
        found = ask({"inputs": ["駅"], "params": {"prompt_name": "query"}})
        default = ask({"inputs": ["駅"]})
        example = json.loads((embedder / "serving_input_example.json").read_text("utf-8"))
        assert np.asarray(ask(example)).shape == (1, 32)
    model = SentenceTransformer(str(folders / "embedder"), device="cpu")
    assert np.allclose(found[0], model.encode("駅", prompt_name="query"), atol=1e-5)
    assert np.allclose(default[0], model.encode("駅", prompt_name="document"), atol=1e-5)

    reranker = versions.fetch(RERANKER, "challenger", tmp_path / "reranker")
    with served(reranker, tmp_path / "reranker.log") as ask:
        found = ask({"dataframe_split": {"columns": ["query", "passage"], "data": PAIRS}})
        example = json.loads((reranker / "serving_input_example.json").read_text("utf-8"))
        assert len(ask(example)) == 1
    assert np.allclose(found, CrossEncoder(str(folders / "reranker"), device="cpu").predict(PAIRS), atol=1e-5)
