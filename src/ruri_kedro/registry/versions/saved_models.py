"""The folder of a registered model of any kind, as sentence-transformers loads it."""

from pathlib import Path

from ruri_kedro.errors import RegistryError
from ruri_kedro.models.kinds import words
from ruri_kedro.registry.versions.registered import files_of, resolve
from ruri_kedro.registry.versions.stored import model_part


def model_folder(uri: str) -> Path:
    """The model, of a class of sentence-transformers, of `models:/<name>@<alias>` or `models:/<name>/<version>`.

    It is downloaded where the store is not on this machine. Raises RegistryError where there is no such model, a file
    is not as it was registered or would run code, or it is a model of another kind.
    """
    folder = model_part(files_of(*resolve(uri)))
    if folder is not None:
        return folder
    raise RegistryError(f"model '{uri}' is of no kind that there is: {', '.join(words())}.")
