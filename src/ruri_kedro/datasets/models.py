"""A saved model as a Kedro data set: a folder that is either complete or not there."""

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from kedro.io.core import AbstractVersionedDataset, Version

from ruri_kedro.errors import DataError
from ruri_kedro.models.older_format import write_older_format
from ruri_kedro.tables.checksums import MANIFEST, read_checked, write_checked
from ruri_kedro.tables.files import replace_dir
from ruri_kedro.tables.manifest import describe_files, differing_files
from ruri_kedro.text.hashing import digest_json


class Saveable(Protocol):
    """What is saved: a SentenceTransformer, a CrossEncoder or any model of transformers."""

    def save_pretrained(self, path: str) -> Any:
        """Write all files of the model into the folder `path`."""


@dataclass(frozen=True)
class HandedOn:
    """The model of a folder, to be saved elsewhere as it is: its files, and so its digest, are the same."""

    folder: Path

    def save_pretrained(self, path: str) -> None:
        """Copy all files but the manifest, which is written when the copy is stored."""
        shutil.copytree(self.folder, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))


class ModelFolder(AbstractVersionedDataset[Saveable, Path]):
    """A folder that `SentenceTransformer(path)`, `CrossEncoder(path)` or `AutoModel` loads.

    Takes a model and gives the path of its folder: code that needs weights loads them, other code imports no torch.
    The manifest is written last and the folder renamed into place, so what a killed run leaves is never a version.

    >>> ModelFolder(filepath="data/06_models/sample/embedder", version=Version(None, None))
    """

    def __init__(
        self, *, filepath: str, version: Version | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(PurePosixPath(filepath), version, exists_function=is_complete)
        self.metadata = metadata

    def load(self) -> Path:
        """The folder of the wanted version; raises DatasetError if a file is missing or not what was saved."""
        path = Path(self._get_load_path())
        if not is_complete(path):
            raise DataError(f"{path}: no complete model here. Run the pipeline that makes it, or dvc pull.")
        for fault in differing_files(path, read_checked(path / MANIFEST)["files"]):
            raise DataError(f"{path}: {fault}. Remove the folder and make or dvc pull the model again.")
        return path

    def save(self, data: Saveable) -> None:
        """Save the model beside its place, add the manifest, rename."""
        with replace_dir(Path(self._get_save_path())) as aside:
            data.save_pretrained(str(aside))
            if not isinstance(data, HandedOn):
                write_older_format(aside)
            write_checked(aside / MANIFEST, {"files": describe_files(aside)})

    def fingerprint(self) -> tuple[str, None]:
        """Digest of the files of the version that would be loaded, for the record of a run."""
        return digest_json(read_checked(Path(self._get_load_path()) / MANIFEST)["files"]), None

    def _exists(self) -> bool:
        return is_complete(self._get_load_path())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath.as_posix(), "version": self._version}


def is_complete(path: str | PurePosixPath) -> bool:
    """Whether a model was written to its end at `path`."""
    return (Path(path) / MANIFEST).is_file()
