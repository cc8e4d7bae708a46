"""Versions of registered models, by name and number or alias, and what is logged with them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.evidence import FOLDER, Evidence, check_manifest, read_evidence
from ruri_kedro.registry.probe import try_model

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
SIGNED = "manifest_sha256"  # tag of a version
DECISION = "promotion.decision"  # tag of a version: promoted, refused with the gates, or rolled back
ROLLED_BACK = "promotion.rolled_back"  # tag of a version: when


def number_of(name: str, alias: str) -> int | None:
    """Number of the version that an alias points to; None without such a model or alias."""
    aliases = _aliases(name)
    return int(aliases[alias]) if alias in aliases else None


def find_version(name: str, number: int | None) -> int:
    """`number`, or the challenger's. Raises RegistryError where there is no such version."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    if number is None:
        number = number_of(name, CHALLENGER)
        if number is None:
            raise RegistryError(
                f"'{name}': no version has the alias '{CHALLENGER}'. Register one (kedro run --pipelines evaluation) "
                "or name the version."
            )
    try:
        MlflowClient().get_model_version(name, str(number))
    except MlflowException as error:
        raise RegistryError(f"'{name}' has no version {number}: {error.message}") from error
    return number


def fetch(name: str, alias_or_number: str, into: Path) -> Path:
    """Download a version into the folder `into` and check every file; gives the folder, for MLflow's loaders.

    Raises RegistryError for a version without manifest or with a file that is not as it was registered.
    """
    import mlflow.artifacts

    number = int(alias_or_number) if alias_or_number.isdigit() else number_of(name, alias_or_number)
    if number is None:
        raise RegistryError(f"'{name}' has no alias '{alias_or_number}'.")
    version = version_of(name, find_version(name, number))
    into.mkdir(parents=True, exist_ok=True)
    mlflow.artifacts.download_artifacts(version.source, dst_path=str(into))
    expected = version.tags.get(SIGNED)
    faults = list(check_manifest(into, expected)) if expected else ["it was registered without a manifest"]
    if faults:
        raise RegistryError(f"{name} version {number} is not to be trusted: {'; '.join(faults[:5])}.")
    return into


def challenger_evidence(name: str, number: int) -> Evidence:
    """Everything about a version, its files checked, the model loaded and tried."""
    import mlflow.artifacts

    version = version_of(name, number)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            mlflow.artifacts.download_artifacts(version.source, dst_path=folder)
        except Exception as error:
            raise RegistryError(f"{name} version {number}: its files cannot be read ({error}).") from error
        fields = read_evidence(root, version.tags.get(SIGNED))
        if fields.get("kind") and fields.get("probe"):
            fields["trial"] = try_model(root, fields["kind"], fields["probe"])
        fields["signature"] = _has_signature(root)
    return Evidence(**fields, standing=_standing(name, number, version.tags))


def champion_evidence(name: str, number: int) -> Evidence:
    """What a challenger is compared with: the champion's scores and tests; its weights are not read."""
    import mlflow.artifacts
    from mlflow.tracking import MlflowClient

    version = version_of(name, number)
    model_id = logged_model_id(version)
    if model_id is None or not MlflowClient().list_logged_model_artifacts(model_id, FOLDER):
        return Evidence()
    # A source `models:/<id>` takes no path below it.
    location = MlflowClient().get_logged_model(model_id).artifact_location
    with tempfile.TemporaryDirectory() as folder:
        mlflow.artifacts.download_artifacts(f"{location}/{FOLDER}", dst_path=folder)
        return Evidence(**read_evidence(Path(folder), version.tags.get(SIGNED), f"{FOLDER}/"))


def logged_model_id(version: Any) -> str | None:
    """Id of the logged model that a version is of; None where it is older than these."""
    # The SQL store leaves `model_id` empty; the source says it.
    model_id = version.model_id or version.source.removeprefix("models:/")
    return model_id if model_id.startswith("m-") else None


def version_of(name: str, number: int) -> Any:
    """MLflow's entity of a version."""
    from mlflow.tracking import MlflowClient

    return MlflowClient().get_model_version(name, str(number))


def _aliases(name: str) -> Mapping[str, str]:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        return MlflowClient().get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise


def _has_signature(root: Path) -> bool:
    from mlflow.models import Model

    try:
        return Model.load(str(root)).signature is not None
    except Exception:
        return False


def _standing(name: str, number: int, tags: Mapping[str, str]) -> str | None:
    if number_of(name, CHAMPION) == number:
        return "it is the champion"
    if when := tags.get(ROLLED_BACK):
        return f"it was rolled back on {when}. Register a better one, or remove its tag {ROLLED_BACK}"
    return None
