"""An MLflow store of its own for each test; its tables are made once, since that takes seconds."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """A folder with a tiny `embedder` and a tiny `reranker`."""
    from tiny import save_tiny_models

    return save_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def store(empty_store, tmp_path, monkeypatch) -> Path:
    """A folder with an empty MLflow store that is the tracking store of this test."""
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.set_registry_uri(None)
    mlflow.create_experiment("test", artifact_location=(tmp_path / "mlruns").as_uri())
    mlflow.set_experiment("test")
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run()
