"""Registered models as others load and serve them."""

import json
import os
import subprocess
import sys
import tomllib
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from background import free_port, running
from kedro_project import REPOSITORY
from registered import NAME, evidence_of_reranker, register, register_unsigned, stored

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.versions import models
from ruri_kedro.registry.versions import registered as versions
from ruri_kedro.registry.versions.registered import model_folder

RERANKER = "ruri-reranker-tiny"
PAIRS = [["東京の駅はいつ建てたか。", "東京の駅は1901年に市が建てた。"], ["東京の駅はいつ建てたか。", "京都の図書館"]]


@pytest.fixture
def registered(store, folders):
    """Both models, registered with evidence; the folder of the store."""
    import mlflow

    register(folders / "embedder")
    with mlflow.start_run():
        models.register_reranker(folders / "reranker", RERANKER, {}, evidence_of_reranker())
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
        model_folder(f"models:/{NAME}@challenger")
    # The reranker's code goes with it, so whoever has the folder runs the check.
    folder = stored(1, registered, RERANKER)
    mlflow.pyfunc.load_model(str(folder))
    flip(folder / "artifacts/reranker/model.safetensors")
    with pytest.raises(RuntimeError, match=r"model\.safetensors is not as it was registered"):
        mlflow.pyfunc.load_model(str(folder))


@pytest.fixture
def plugged(monkeypatch):
    """MLflow as it is where this package is installed with its entry points."""
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories

    from ruri_kedro.registry.checked_models import CheckedModels

    monkeypatch.setitem(get_registered_artifact_repositories(), "models", CheckedModels)


def test_mlflows_own_loaders_check_the_files(registered, folders, plugged, tmp_path):
    import mlflow

    uri, part = f"models:/{NAME}@challenger", "model.sentence_transformer"
    loaders = [
        mlflow.sentence_transformers.load_model,
        mlflow.pyfunc.load_model,
        lambda uri: mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "all")),
        lambda uri: mlflow.artifacts.download_artifacts(f"{uri}/{part}", dst_path=str(tmp_path / "part")),
        lambda uri: mlflow.artifacts.download_artifacts(f"{uri}/{part}/model.safetensors"),
    ]
    for load in [*loaders, lambda uri: mlflow.pyfunc.load_model(f"models:/{RERANKER}/1")]:
        assert load(uri), "what is as it was registered is loaded, and loading it adds no file"
    flip(stored(1, registered) / part / "model.safetensors")
    for load in loaders:
        with pytest.raises(
            RegistryError, match=rf"{NAME} version 1 is not to be trusted: .*model\.safetensors has SHA"
        ):
            load(uri)
    assert mlflow.artifacts.download_artifacts(f"{uri}/{part}/modules.json"), "this file is as it was"


@pytest.mark.parametrize("change", ["added", "manifest", "lost"])
def test_files_that_were_not_there_are_refused(registered, plugged, change):
    import mlflow

    root = stored(1, registered)
    if change == "added":  # transformers would put an adapter on the weights
        (root / "model.sentence_transformer/adapter_config.json").write_text("{}", "utf-8")
    elif change == "manifest":
        flip(root / "evidence/manifest.json")
    else:
        (root / "evidence/manifest.json").unlink()
    said = {"added": "adapter_config.json is not in", "manifest": "manifest.json has SHA", "lost": "json is missing"}
    with pytest.raises(RegistryError, match=f"is not to be trusted: .*{said[change]}"):
        mlflow.sentence_transformers.load_model(f"models:/{NAME}@challenger")


def test_versions_of_other_projects_are_loaded_as_ever(store, folders, plugged):
    import mlflow

    register_unsigned(folders / "embedder", "other")
    (stored(1, store, "other") / "note.txt").write_text("not signed", "utf-8")
    assert mlflow.artifacts.download_artifacts("models:/other@challenger")


def installed(folder: Path) -> dict[str, str]:
    """Environment of a process that sees this package with the entry points of its pyproject.toml."""
    text = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    info = folder / "ruri_kedro-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ruri-kedro\nVersion: 0.1.0\n", "utf-8")
    groups = tomllib.loads(text)["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines), "utf-8")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY / "src")])}


@pytest.mark.slow
def test_mlflow_finds_the_check_by_the_entry_point(registered, tmp_path):
    environment = installed(tmp_path / "installed") | {"MLFLOW_TRACKING_URI": f"sqlite:///{registered / 'mlflow.db'}"}
    uri = f"models:/{NAME}@challenger"
    download = ["-c", f"import mlflow; print(mlflow.artifacts.download_artifacts('{uri}'))"]
    serve = ["-m", "mlflow", "models", "serve", "--model-uri", uri, "--env-manager", "local"]

    def run(arguments: list[str]) -> subprocess.CompletedProcess:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    done = run(download)
    assert done.returncode == 0, done.stderr
    flip(stored(1, registered) / "model.sentence_transformer/model.safetensors")
    first = ["-c", f"import ruri_kedro.registry.checked_models\n{download[1]}"]  # before MLflow looks for it
    for arguments in (download, first, serve):
        done = run(arguments)
        assert done.returncode != 0 and f"{NAME} version 1 is not to be trusted" in done.stderr, done.stderr


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
