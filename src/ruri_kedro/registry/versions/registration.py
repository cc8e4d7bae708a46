"""The steps of a registration: a version appears whole, with its manifest, or not at all, and nothing appears twice.

A model is logged first, marked as pending; its evidence, manifest and metrics follow. The version is made last, in one
write together with all its tags. A process that is killed before that leaves a pending model without a version, which
the next registration of the same name removes; one that is killed after it leaves a version that is complete, and the
next registration of the same finds it and gives it the alias.
"""

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.evidence.card import without_origin
from ruri_kedro.registry.evidence.evidence import Evidence
from ruri_kedro.registry.runs.liveness import PROCESS, is_dead
from ruri_kedro.registry.runs.tracking import active_run_id, mlflow_client, set_tags
from ruri_kedro.registry.versions.registered import CHALLENGER, ensure_model, fetch, logged_model_id, number_of
from ruri_kedro.tables.store import file_digest
from ruri_kedro.text.hashing import digest_json
from ruri_kedro.text.pages import without_front_matter

logger = logging.getLogger(__name__)

CONTENT = "registration.content"  # tag of a version: digest of what was registered
PENDING = "registration.pending"  # tag of a logged model without a version yet: name of the registered model; then `no`
RESULT = "registered."  # tag of a run, followed by the name of a registered model: the version that the run has there
# What differs between two runs that do the same: no part of what is registered.
_OF_THE_RUN = {"run_id", "reproduce", "git_commit", "git_dirty", "made"}
_NOT_WEIGHTS = {"README.md", "manifest.json"}


def content_of(folder: Path, evidence: Evidence, metrics: Mapping[str, float]) -> str:
    """Digest of weights, training data and settings, tests, scores and card, without what only says which run it was.

    The same again is the same version; other scores, data or words of the card make another one.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _NOT_WEIGHTS)
    return digest_json(
        {
            "files": [[path.relative_to(folder).as_posix(), file_digest(path)] for path in files],
            "metrics": dict(metrics),
            **evidence.tables,
            **evidence.documents,
            "training": _without_run(evidence.training),
            "card": without_origin(evidence.card or ""),
        }
    )


def find_same(name: str, content: str) -> int | None:
    """Number of the newest version with this content whose files are as they were registered; None if there is none."""
    found = mlflow_client().search_model_versions(f"name='{name}' and tags.`{CONTENT}`='{content}'")
    for number in sorted((int(version.version) for version in found), reverse=True):
        try:
            with tempfile.TemporaryDirectory() as folder:
                fetch(name, str(number), Path(folder))
        except RegistryError as error:
            logger.warning("%s It is registered again.", error)
        else:
            return number
    return None


def make_version(name: str, model_id: str, tags: Mapping[str, str], card: str) -> int:
    """The version of a logged model that has all its files, in one write; the model is not pending any more."""
    client = mlflow_client()
    ensure_model(name)
    made = client.create_model_version(
        name,
        f"models:/{model_id}",
        tags=dict(tags),
        description=without_front_matter(card),
        model_id=model_id,
    )
    _settle(client, name, model_id, int(made.version))
    return int(made.version)


def point_to(name: str, number: int) -> None:
    """Make a version the challenger, and say on the open run that the run has registered or found it."""
    set_tags(str(active_run_id()), {f"{RESULT}{name}": str(number)})
    if number_of(name, CHALLENGER) != number:
        mlflow_client().set_registered_model_alias(name, CHALLENGER, str(number))


def clear_leftovers(name: str) -> None:
    """Remove what killed registrations of `name` left; what a process that may be alive has logged stays."""
    from mlflow.exceptions import MlflowException

    client = mlflow_client()
    experiment = client.get_run(str(active_run_id())).info.experiment_id
    pending = client.search_logged_models([experiment], filter_string=f"tags.`{PENDING}` = '{name}'")
    left = [model for model in pending if _is_left(client, model)]
    versions = client.search_model_versions(f"name='{name}'") if left else []
    numbers = {logged_model_id(version): int(version.version) for version in versions}
    for model in left:
        try:
            if model.model_id in numbers:
                _settle(client, name, model.model_id, numbers[model.model_id])
            else:
                _remove(client, model)
        except (MlflowException, OSError) as error:  # a login that may not remove
            logger.warning("'%s': what a killed run has left (%s) cannot be removed: %s", name, model.model_id, error)


def _is_left(client: Any, model: Any) -> bool:
    """Whether nobody works on a pending model any more."""
    if model.source_run_id in (None, active_run_id()) or is_dead(model.tags.get(PROCESS)):
        return True
    return client.get_run(model.source_run_id).info.status != "RUNNING"


def _settle(client: Any, name: str, model_id: str, number: int) -> None:
    """Link a logged model with its version, as MLflow's own registration does, and take the mark away."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    link = json.dumps([{"name": name, "version": number}])
    # The mark is overwritten: on a server with logins, only who manages the experiment may delete a tag.
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: link, PENDING: "no"})


def _remove(client: Any, model: Any) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(model.artifact_location).delete_artifacts()
    client.delete_logged_model(model.model_id)


def _without_run(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: row for key, row in value.items() if key not in _OF_THE_RUN and not key.startswith("version.")}
        return {key: _without_run(row) for key, row in kept.items()}
    return value
