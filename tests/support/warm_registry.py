"""Imported by the process that others are forked from: a registration and a promotion, so that those are quick."""

import shutil
import tempfile
from pathlib import Path

import mlflow
from kedro_project import empty_store
from registered import PROMOTION, evidence, register
from tiny import save_tiny_models

from ruri_kedro.registry.promotion import promote as promotion
from ruri_kedro.registry.versions import models

with tempfile.TemporaryDirectory() as _folder:
    _root = Path(_folder)
    shutil.copy(empty_store(), _root / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{_root / 'mlflow.db'}")
    mlflow.create_experiment("warm", artifact_location=(_root / "mlruns").as_uri())
    mlflow.set_experiment("warm")
    save_tiny_models(_root / "models")
    register(_root / "models/embedder")
    with mlflow.start_run():
        models.register_reranker(_root / "models/reranker", "ruri-reranker-tiny", {}, evidence())
    promotion.apply_decision(promotion.judge_version(PROMOTION))
    promotion.judge_version(PROMOTION, "ruri-reranker-tiny")
