"""Tiny models, saved once, and a service of them all."""

import pytest
from fastapi.testclient import TestClient
from service import start
from tiny import save_tiny_late, save_tiny_models, tiny_encoder

from ruri_kedro.service.app import create_app


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders of a tiny `embedder`, `other` embedder, `reranker` and late interaction model (`late`)."""
    root = save_tiny_models(tmp_path_factory.mktemp("models"))
    tiny_encoder(seed=1).save_pretrained(str(root / "other"))
    save_tiny_late(root / "late")
    return root


@pytest.fixture(scope="module")
def service(folders, tmp_path_factory):
    """A service of an embedder, a late interaction model beside it, and a reranker."""
    root = tmp_path_factory.mktemp("service")
    return start(root, folders / "embedder", folders / "late", folders / "reranker")


@pytest.fixture(scope="module")
def client(service):
    """A client of it."""
    with TestClient(create_app(service), raise_server_exceptions=False) as made:
        yield made
