"""What goes out to the Hugging Face hub: a folder that is complete, and that the licences of its sources allow."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ruri_kedro.errors import PublicationError
from ruri_kedro.models.checkpoint import saved_with_unit_vectors
from ruri_kedro.models.older_format import write_older_format
from ruri_kedro.registry.evidence.card_texts import NOT_UNIT, UNIT
from ruri_kedro.registry.evidence.evidence import FOLDER, MANIFEST
from ruri_kedro.registry.promotion.rules import USES, allows, plain
from ruri_kedro.registry.publishing.terms import Terms
from ruri_kedro.registry.runs.training_runs import changed_stages
from ruri_kedro.tables.files import read_json, replace_dir, write_json
from ruri_kedro.tables.manifest import describe_files

CARD = "README.md"
_MANIFEST = "manifest.json"
_OTHER_WEIGHTS = (".bin", ".pt", ".pkl", ".pickle", ".ckpt")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def check_model(sources: Mapping[str, Mapping], terms: Terms, licences: Mapping[str, Any]) -> None:
    """Raise PublicationError unless every training source allows the licence that the model is to go out under.

    `licences` are those of `promotion.licences`, by the widest use that they allow.
    """
    licence = terms.licence.model
    if licence not in terms.model:
        raise PublicationError(
            f"publication.model: '{licence}', the licence of the model, is missing. Give the use that it allows: "
            f"{', '.join(USES)}."
        )
    use = terms.model[licence]
    _refuse(
        f"A model under {licence} may be used for {use} ends, which is not allowed by",
        [name for name, row in sources.items() if not allows(licences, use, row["licence"])],
        sources,
    )


def check_dataset(sources: Mapping[str, Mapping], terms: Terms) -> None:
    """Raise PublicationError unless the texts of every source may go out under the licence of the data set."""
    licence = terms.licence.dataset
    allowed = {plain(name): {plain(other) for other in others} for name, others in terms.dataset.items()}
    _refuse(
        f"Texts may not go out under {licence} from",
        [name for name, row in sources.items() if plain(licence) not in allowed.get(plain(row["licence"]), ())],
        sources,
    )


def publish_model(
    root: Path, name: str, out: Path, terms: Terms, licences: Mapping[str, Any], repo: str | None
) -> None:
    """Write what the hub needs of a model into the folder `out`.

    `root` holds the checked files of a version (`versions.fetch`). The folder has the model with its weights as
    safetensors and in the form that servers read, its card with the licence and the results as metadata, the evidence,
    and the SHA-256 of all files. Raises PublicationError where a source does not allow it, or there are weights in
    another form.
    """
    training = read_json(root / FOLDER / "training.json")
    if changed := changed_stages(training):
        raise PublicationError(
            f"The examples of {', '.join(changed)} were made anew after the training, so the sources of {name} are not "
            "known. Train and evaluate it again."
        )
    check_model(training["sources"], terms, licences)
    model = _model_folder(root)
    with fresh_folder(out) as folder:
        shutil.copytree(model, folder, dirs_exist_ok=True)
        write_older_format(folder)
        evidence = shutil.ignore_patterns(Path(MANIFEST).name)
        shutil.copytree(root / FOLDER, folder / FOLDER, ignore=evidence)
        card = (model / CARD).read_text("utf-8").replace(f"path/to/{name}", repo or f"path/to/{name}")
        if not saved_with_unit_vectors(model):  # cards of 0.1 say so of every embedder
            card = card.replace(UNIT, NOT_UNIT)
        (folder / CARD).write_text(_with_licence(card, terms.licence.model), encoding="utf-8")


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place, with a manifest of its files, when it is complete.

    Raises PublicationError where `out` is there already and was not written by this.
    """
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / _MANIFEST).is_file())):
        raise PublicationError(f"{out} is there already and was not published. Name another folder.")
    with replace_dir(out) as folder:
        yield folder
        write_json(folder / _MANIFEST, {"files": describe_files(folder)})


def upload(folder: Path, repo: str, kind: str, public: bool = False) -> str:
    """Upload a published folder to the hub as `repo` (owner/name) of a kind, model or dataset; gives its address.

    A repository that is not there is made, private unless `public`. The hub is the one of HF_ENDPOINT, the login that
    of `hf auth login` or HF_TOKEN. Raises PublicationError without a login, or where the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    check_repository(repo)
    api = HfApi()
    try:
        api.whoami()
    except (LocalTokenNotFoundError, HfHubHTTPError) as error:
        raise PublicationError(
            f"The hub {api.endpoint} does not know you. Log in (hf auth login) or set HF_TOKEN. Nothing was uploaded."
        ) from error
    try:
        address = api.create_repo(repo, repo_type=kind, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repo, repo_type=kind, folder_path=folder, commit_message=f"Publish {folder.name}")
    except HfHubHTTPError as error:
        raise PublicationError(f"{repo} was not uploaded to {api.endpoint}: {error}") from error
    return str(address)


def check_repository(repo: str) -> None:
    """Raise PublicationError unless `repo` is the name of a repository on the hub."""
    if not _REPOSITORY.fullmatch(repo):
        raise PublicationError(f"'{repo}' is not a repository of the hub. Name it as <owner>/<name>.")


def _refuse(reason: str, names: list[str], sources: Mapping[str, Mapping]) -> None:
    if names:
        found = ", ".join(f"{name} ({sources[name]['licence']})" for name in names)
        raise PublicationError(f"{reason}: {found}. Choose another publication.licence, or train without them.")


def _model_folder(root: Path) -> Path:
    """The model among the files of a version, which is where its card is."""
    cards = [path.parent for path in root.rglob(CARD)]
    others = [path.name for path in root.rglob("*") if path.suffix in _OTHER_WEIGHTS]
    if len(cards) != 1 or others or not any(cards[0].rglob("*.safetensors")):
        raise PublicationError(f"The weights are not in safetensors alone: {', '.join(others) or 'there are none'}.")
    return cards[0]


def _with_licence(card: str, licence: str) -> str:
    """The card with another licence in its metadata."""
    _, front, text = card.split("---\n", 2)
    data = yaml.safe_load(front) | {"license": licence}
    return f"---\n{yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=120)}---\n{text}"
