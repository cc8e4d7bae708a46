"""The folder of a registered model of either kind, as sentence-transformers loads it."""

from pathlib import Path

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.models import embedder_folder


def model_folder(uri: str) -> Path:
    """The SentenceTransformer or CrossEncoder of `models:/<name>@<alias>` or `models:/<name>/<version>`.

    It is downloaded where the store is not on this machine. Raises RegistryError where there is no such model.
    """
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        root = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except MlflowException as error:
        raise RegistryError(f"model '{uri}': {error.message} `kedro ruri status` lists what is registered.") from error
    # Where a pyfunc model keeps the files that it was logged with: of a reranker its one folder.
    kept = [path for path in (root / "artifacts").glob("*") if (path / "config.json").is_file()]
    return kept[0] if kept else embedder_folder(uri)
