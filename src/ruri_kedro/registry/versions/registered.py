"""Versions of registered models, by name and number or alias, and what is logged with them."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.evidence.evidence import FOLDER, Evidence, check_manifest, read_evidence
from ruri_kedro.registry.runs.relocation import local_path
from ruri_kedro.registry.runs.tracking import mlflow_client
from ruri_kedro.registry.versions.probe import load_folder, try_model
from ruri_kedro.registry.versions.stored import foreign_faults, kind_of
from ruri_kedro.tables.manifest import irregular_entries

PREFIX = "ruri-"  # of the names of this package's registered models
CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
SIGNED = "manifest_sha256"  # tag of a version
PROMOTION = "promotion."  # how the tags begin that say what became of a version
DECISION = "promotion.decision"  # tag of a version: promoted, refused with the gates, rolled back, or what is under way
ROLLED_BACK = "promotion.rolled_back"  # tag of a version: when
COPY_OF = "promotion.copy_of"  # tag of a released version: <name>/<number> of the challenger
_MODEL_ID = "promotion.model_id"  # tag of a released version: its logged model


def number_of(name: str, alias: str) -> int | None:
    """Number of the version that an alias points to; None without such a model or alias."""
    aliases = _aliases(name)
    return int(aliases[alias]) if alias in aliases else None


def numbers(name: str) -> list[int]:
    """Numbers of all versions of a registered model, the oldest first."""
    return sorted(int(version.version) for version in mlflow_client().search_model_versions(f"name='{name}'"))


def find_version(name: str, number: int | None) -> int:
    """`number`, or the challenger's. Raises RegistryError where there is no such version."""
    from mlflow.exceptions import MlflowException

    if number is None:
        number = number_of(name, CHALLENGER)
        if number is None:
            raise RegistryError(
                f"'{name}': no version has the alias '{CHALLENGER}'. Register one (kedro run --pipelines evaluation) "
                "or name the version."
            )
    try:
        mlflow_client().get_model_version(name, str(number))
    except MlflowException as error:
        raise RegistryError(f"'{name}' has no version {number}: {error.message}") from error
    return number


def resolve(reference: str) -> tuple[str, int]:
    """Name and number of a version: `<name>@<alias>`, `<name>/<number>`, each also behind `models:/`, or `<name>`.

    A name alone is its champion, else its challenger. Raises RegistryError where there is no such version.
    """
    text = reference.removeprefix("models:/")
    if "@" in text:
        name, alias = text.rsplit("@", 1)
        number = number_of(name, alias)
    elif "/" in text:
        name, digits = text.rsplit("/", 1)
        alias, number = digits, int(digits) if digits.isdigit() else None
    else:
        name, alias = text, f"{CHAMPION}' or '{CHALLENGER}"
        number = number_of(name, CHAMPION) or number_of(name, CHALLENGER)
    if number is None:
        raise RegistryError(f"'{name}' has no '{alias}'. `kedro ruri status` lists what is registered.")
    return name, find_version(name, number)


def fetch(name: str, alias_or_number: str, into: Path) -> Path:
    """Download a version into the folder `into` and check every file; gives the folder, for MLflow's loaders.

    Raises RegistryError for a version without manifest or with a file that is not as it was registered.
    """
    number = int(alias_or_number) if alias_or_number.isdigit() else number_of(name, alias_or_number)
    if number is None:
        raise RegistryError(f"'{name}' has no alias '{alias_or_number}'.")
    number = find_version(name, number)
    if SIGNED not in version_of(name, number).tags:
        raise RegistryError(f"{name} version {number} is not to be trusted: it was registered without a manifest.")
    into.mkdir(parents=True, exist_ok=True)
    return files_of(name, number, into)


def files_of(name: str, number: int, into: Path | None = None) -> Path:
    """The folder of a version's files, downloaded where the store is not on this machine or `into` is given.

    Raises RegistryError where a file is not as the version's manifest says, if it has one, or is not of this package.
    """
    root = _download(name, number, into)
    version = version_of(name, number)
    refuse(name, number, version_faults(version, root))
    return root


def version_faults(version: Any, root: Path, part: str = "", manifest: Path | None = None) -> Iterator[str]:
    """Why the files of a version in the folder `root`, or a `part` of them, are not to be loaded, a text each.

    They differ from the version's manifest, or they are not of this package and may run code. Of a version of another
    project nothing is said. `manifest`: where the manifest is, if not in its place below `root`.
    """
    if not is_ours(version):
        return
    expected = version.tags.get(SIGNED)
    below = f"{part}/" if part and (root / part).is_dir() else part
    faults = list(check_manifest(root, expected, below, manifest)) if expected else []
    # What is not as it was registered is not worth another look.
    yield from faults or foreign_faults(root, part)


def is_ours(version: Any) -> bool:
    """Whether a version is of this package: by its tag, or by the name of its model if somebody left the tag out."""
    return SIGNED in version.tags or version.name.startswith(PREFIX)


def local_faults(repository: Any) -> Iterator[str]:
    """What is neither file nor folder in a store on this machine; a download would follow it, or not end."""
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    while (inner := getattr(repository, "repo", None)) is not None:  # `models:/` and `runs:/` stand for another one
        repository = inner
    if isinstance(repository, LocalArtifactRepository):
        yield from irregular_entries(Path(repository.artifact_dir))


def refuse(name: str, number: int | str, faults: Iterable[str]) -> None:
    """Raise RegistryError if there are faults, with the first of them."""
    if first := list(islice(faults, 5)):
        raise RegistryError(f"{name} version {number} is not to be trusted: {'; '.join(first)}.")


def load(reference: str) -> Any:
    """The SentenceTransformer or CrossEncoder that `reference` names (as `resolve` reads it), its files checked.

    Raises RegistryError as `fetch`.
    """
    name, number = resolve(reference)
    with tempfile.TemporaryDirectory() as folder:
        root = fetch(name, str(number), Path(folder))
        return load_folder(root, kind_of(root))


def challenger_evidence(name: str, number: int, released: str | None = None) -> Evidence:
    """Everything about a version, its files checked, the model loaded and tried if it runs no code.

    `released` is the registered model that has the champion, by default its own.
    """
    version = version_of(name, number)
    standing = standing_of(name, number, released or name)
    if odd := tuple(local_faults(_repository(name, number))):
        return Evidence(manifest=True, faults=odd, foreign=odd, standing=standing)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            _download(name, number, root)
        except Exception as error:
            raise RegistryError(f"{name} version {number}: its files cannot be read ({error}).") from error
        found = read_evidence(root, version.tags.get(SIGNED))
        foreign = tuple(foreign_faults(root))
        trial = try_model(root, found.kind, found.probe) if found.kind and found.probe and not foreign else None
        return replace(found, foreign=foreign, trial=trial, signature=_has_signature(root), standing=standing)


def logged_evidence(name: str, number: int) -> Evidence:
    """What was logged about a version, such as a champion's scores and tests; its weights are not read."""
    import mlflow.artifacts
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    version = version_of(name, number)
    model_id = logged_model_id(version)
    if model_id is None:
        return Evidence()
    # A source `models:/<id>` takes no path below it.
    location = mlflow_client().get_logged_model(model_id).artifact_location
    _require_place(name, number, location)
    if odd := tuple(local_faults(get_artifact_repository(location))):
        return Evidence(manifest=True, faults=odd)
    if not mlflow_client().list_logged_model_artifacts(model_id, FOLDER):
        return Evidence()
    with tempfile.TemporaryDirectory() as folder:
        mlflow.artifacts.download_artifacts(f"{location}/{FOLDER}", dst_path=folder)
        return read_evidence(Path(folder), version.tags.get(SIGNED), f"{FOLDER}/")


def logged_model_id(version: Any) -> str | None:
    """Id of the logged model that a version is of; None where it is older than these."""
    # The SQL store leaves `model_id` empty; the source says it, of a copy the tag.
    model_id = version.model_id or version.tags.get(_MODEL_ID) or version.source.removeprefix("models:/")
    return model_id if model_id.startswith("m-") else None


def original_of(name: str, number: int) -> tuple[str, int]:
    """Name and number of the version that a version was copied from, or its own where it is not a copy."""
    origin, _, digits = version_of(name, number).tags.get(COPY_OF, "").rpartition("/")
    return (origin, int(digits)) if origin else (name, number)


def ensure_model(name: str) -> None:
    """Make sure that there is a registered model of this name; who makes it manages it."""
    from mlflow.exceptions import MlflowException

    try:
        mlflow_client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def copy_version(name: str, number: int, target: str, tags: Mapping[str, str]) -> Any:
    """A copy of a version in another registered model, made in one write; its files are the same, not copied.

    It has the tags of the version, but none that says what became of that, and those that are given.
    """
    client = mlflow_client()
    version = version_of(name, number)
    own = {key: value for key, value in version.tags.items() if not key.startswith(PROMOTION)}
    model_id = logged_model_id(version)
    made = client.create_model_version(
        target,
        f"models:/{name}/{number}",
        run_id=version.run_id,
        tags={**own, COPY_OF: f"{name}/{number}", **({_MODEL_ID: model_id} if model_id else {}), **tags},
        run_link=version.run_link,
        description=version.description,
    )
    return version_of(target, int(made.version))


def copies_of(name: str, number: int, target: str) -> list[Any]:
    """The copies of a version in another registered model, the oldest first."""
    found = mlflow_client().search_model_versions(f"name='{target}' and tags.`{COPY_OF}`='{name}/{number}'")
    return sorted(found, key=lambda version: int(version.version))


def remove_version(version: Any) -> None:
    """Remove a version from the registry; the files stay."""
    mlflow_client().delete_model_version(version.name, version.version)


def version_of(name: str, number: int) -> Any:
    """MLflow's entity of a version."""
    return mlflow_client().get_model_version(name, str(number))


def _download(name: str, number: int, into: Path | None) -> Path:
    """The files of a version as they are; `models:/...` would refuse what is not as it was registered."""
    repository = _repository(name, number)
    refuse(name, number, local_faults(repository))
    return Path(repository.download_artifacts("", into and str(into)))


def _repository(name: str, number: int) -> Any:
    """MLflow's access to the files of a version."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    location = mlflow_client().get_model_version_download_uri(name, str(number))
    _require_place(name, number, location)
    return get_artifact_repository(location)


def _require_place(name: str, number: int, location: str) -> None:
    """Raise RegistryError where the files of a version should be in a folder of this machine that is missing."""
    path = local_path(location)
    if path is not None and not path.exists():
        raise RegistryError(
            f"{name} version {number}: its files should be in {path}, which is missing. Put them back (they were moved "
            "or removed without the project's mlflow.db), or register the model again: kedro run --pipelines evaluation"
        )


def _aliases(name: str) -> Mapping[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        return mlflow_client().get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise RegistryError(f"'{name}' cannot be the name of a registered model. {error.message}") from error
        raise


def _has_signature(root: Path) -> bool:
    from mlflow.models import Model

    try:
        return Model.load(str(root)).signature is not None
    except Exception:
        return False


def standing_of(name: str, number: int, released: str) -> str | None:
    """Why a version may not be promoted: it, or the copy that was released of it, has been already."""
    champion = number_of(released, CHAMPION)
    if champion is not None and original_of(released, champion) == (name, number):
        return "it is the champion"
    copies = [] if released == name else [(released, other) for other in numbers(released)]
    for model, version in [(name, number), *(copy for copy in copies if original_of(*copy) == (name, number))]:
        if when := version_of(model, version).tags.get(ROLLED_BACK):
            remedy = f"Register a better one, or remove the tag {ROLLED_BACK} of {model} version {version}"
            return f"it was rolled back on {when}. {remedy}"
    return None
