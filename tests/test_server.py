"""The tracking server of docs/server.md: a trainer registers challengers, only a promoter releases."""

import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from background import free_port, running
from postgresql import postgresql
from registered import NAME, PROMOTION, evidence, register
from tiny import tiny_encoder

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.promotion import promote as promotion
from ruri_kedro.registry.runs import tracking
from ruri_kedro.registry.versions import registered as versions

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).resolve().parents[1] / "docs/server.md"
RELEASED = f"{NAME}-released"
PASSWORDS = {"admin": "admin-of-the-tests", "trainer": "trainer-of-the-tests", "promoter": "promoter-of-the-tests"}
RULES = PROMOTION | {"released": "{model}-released"}


def block(language: str) -> str:
    """The one block of a language in the document."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    return found


@contextmanager
def tracking_server(root: Path, databases: str):
    """The server of the document; `databases` is the address before the name of each."""
    (root / "auth.ini").write_text(
        re.sub(r"database_uri = .*", f"database_uri = {databases}/mlflow_auth", block("ini")), "utf-8"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | {
        "MLFLOW_AUTH_CONFIG_PATH": str(root / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the tests",
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["admin"],
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten more processes, of which nothing here is asked
    }
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1",
               "--port", str(port), "--workers", "1", "--backend-store-uri", f"{databases}/mlflow",
               "--artifacts-destination", str(root / "artifacts")]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with running(command, f"{address}/health", root / "server.log", environment):
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request, tmp_path, monkeypatch):
    """The server with the users and permissions of the document, which MLflow is to talk to."""
    import mlflow

    with ExitStack() as opened:
        is_file = request.param == "sqlite"
        databases = f"sqlite:///{tmp_path}" if is_file else opened.enter_context(postgresql(("mlflow", "mlflow_auth")))
        address = opened.enter_context(tracking_server(tmp_path, databases))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        for user in ("trainer", "promoter"):
            monkeypatch.setenv(f"{user.upper()}_PASSWORD", PASSWORDS[user])
        mlflow.set_tracking_uri(address)
        mlflow.set_registry_uri(None)
        log_in(monkeypatch, "admin")
        exec(block("python").replace("-mini", "-tiny"), {})
        mlflow.set_experiment("ruri")
        yield address
        while mlflow.active_run():
            mlflow.end_run()


def log_in(monkeypatch, user: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORDS[user])


def refuses(*calls: Callable[[], object]) -> None:
    """The server lets this login do none of it."""
    from mlflow.exceptions import MlflowException

    for call in calls:
        with pytest.raises(MlflowException, match=r"(?i)permission denied"):
            call()


def aliases(name: str) -> dict[str, int]:
    import mlflow

    return {alias: int(n) for alias, n in mlflow.MlflowClient().get_registered_model(name).aliases.items()}


def test_a_trainer_registers_and_only_a_promoter_releases(server, monkeypatch, tmp_path):
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
    from sentence_transformers import SentenceTransformer

    from ruri_kedro.registry.checked_models import CheckedModels

    folder = tmp_path / "embedder"
    tiny_encoder().save_pretrained(str(folder))

    log_in(monkeypatch, "trainer")
    register(folder)
    decision = promotion.judge_version(RULES)
    assert decision.promoted, decision.to_markdown()
    with pytest.raises(
        RegistryError, match=rf"'{RELEASED}': this login \(MLFLOW_TRACKING_USERNAME\) has no permission to release"
    ):
        promotion.apply_decision(decision)
    client = mlflow.MlflowClient()
    refuses(
        lambda: client.copy_model_version(f"models:/{NAME}/1", RELEASED),
        lambda: client.set_registered_model_tag(RELEASED, "key", "value"),
        lambda: client.rename_registered_model(RELEASED, "mine"),
        lambda: client.delete_registered_model(RELEASED),
    )
    assert aliases(RELEASED) == {} and aliases(NAME) == {"challenger": 1}

    log_in(monkeypatch, "promoter")
    promotion.apply_decision(promotion.judge_version(RULES))
    assert aliases(RELEASED) == {"champion": 1}
    log_in(monkeypatch, "trainer")
    register(folder, evidence(level=0.6))
    log_in(monkeypatch, "promoter")
    promotion.apply_decision(promotion.judge_version(RULES))
    assert aliases(RELEASED) == {"champion": 2, "previous": 1}

    log_in(monkeypatch, "trainer")
    refuses(
        lambda: client.set_registered_model_alias(RELEASED, "champion", "1"),
        lambda: client.set_model_version_tag(RELEASED, "2", versions.SIGNED, "another"),
        lambda: client.delete_model_version(RELEASED, "1"),
    )
    with pytest.raises(RegistryError, match="has no permission to release"):
        promotion.rollback(RELEASED)
    monkeypatch.setitem(get_registered_artifact_repositories(), "models", CheckedModels)
    uri = f"models:/{RELEASED}@champion"
    for load in (versions.load, mlflow.sentence_transformers.load_model):
        assert isinstance(load(uri), SentenceTransformer), "everybody may read it"
    part = mlflow.artifacts.download_artifacts(f"{uri}/model.sentence_transformer")
    assert isinstance(SentenceTransformer(part, device="cpu"), SentenceTransformer)
    log_in(monkeypatch, "promoter")
    assert promotion.rollback(RELEASED) == (1, 2)
    assert versions.logged_evidence(RELEASED, 1).scores

    # The login in the address, as it is given to every command.
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    host = server.removeprefix("http://")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://promoter:{PASSWORDS['promoter']}@{host}")
    assert tracking.tracking_uri(None, tmp_path) == server
    tracking.check_server(server)
    assert aliases(RELEASED) == {"champion": 1}
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    tracking.tracking_uri(f"http://promoter:wrong@{host}", tmp_path)
    with pytest.raises(RegistryError, match="refuses the login"):
        tracking.check_server(server)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with pytest.raises(MlflowException):
        mlflow.MlflowClient().get_registered_model(NAME)
