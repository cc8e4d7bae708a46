"""The folder of a registered model of either kind, as sentence-transformers loads it."""

from pathlib import Path

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.versions import files_of, resolve


def model_folder(uri: str) -> Path:
    """The SentenceTransformer or CrossEncoder of `models:/<name>@<alias>` or `models:/<name>/<version>`.

    It is downloaded where the store is not on this machine. Raises RegistryError where there is no such model, a file
    is not as it was registered, or it is a model of another kind.
    """
    from mlflow.sentence_transformers import SENTENCE_TRANSFORMERS_DATA_PATH

    root = files_of(*resolve(uri))
    # A pyfunc model keeps what it was logged with in `artifacts`: of a reranker its one folder.
    for folder in (root / SENTENCE_TRANSFORMERS_DATA_PATH, *(root / "artifacts").glob("*")):
        if any((folder / name).is_file() for name in ("modules.json", "config.json")):
            return folder
    raise RegistryError(f"model '{uri}' is neither an embedder nor a reranker.")
