"""Named folders that are built in place, such as search indexes, as a Kedro data set."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kedro.io.core import AbstractDataset

from ruri_kedro.datasets.marker import mark, marked_parts, unmark
from ruri_kedro.errors import DataError
from ruri_kedro.tables.checksums import MANIFEST, check_folders, facts_of
from ruri_kedro.tables.files import UNFINISHED, sole_writer
from ruri_kedro.text.hashing import digest_all, digest_json, stable_id
from ruri_kedro.text.names import check_name

Build = Callable[[Path], None]


class FolderDataset(AbstractDataset[Mapping[str, Build], Path]):
    """A folder of folders, one per name, each built by a function that is given its path.

    A builder replaces its folder as a whole, leaves a `manifest.json` in it, and does nothing where the one that is
    there is current.

    >>> FolderDataset(filepath="data/04_feature/sample/pretraining/indexes")
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """The outer folder; raises DatasetError unless all of its folders are there as they were built."""
        names = marked_parts(self._filepath)
        if names is None:
            raise DataError(f"{self._filepath}: not complete. Run the pipeline that makes it.")
        check_folders(self._filepath / name for name in names)
        return self._filepath

    def save(self, data: Mapping[str, Build]) -> None:
        """Build every folder that `data` names, remove the others; RecipeError for a name that cannot be a folder's."""
        for name in data:
            check_name(f"folder {self._filepath}", name, dots=True)
        self._filepath.mkdir(parents=True, exist_ok=True)
        with sole_writer(self._filepath):
            self._build(data)

    def _build(self, data: Mapping[str, Build]) -> None:
        unmark(self._filepath)
        kept = {*data, *(f"{UNFINISHED}{name}" for name in data)}  # an index goes on where it was killed
        for folder in self._filepath.iterdir():
            if folder.is_dir() and folder.name not in kept:
                shutil.rmtree(folder)
        for name, build in data.items():
            build(self._filepath / name)
            if not (self._filepath / name / MANIFEST).is_file():
                raise DataError(f"{self._filepath / name}: its builder left no {MANIFEST}.")
        mark(self._filepath, data)

    def fingerprint(self) -> tuple[str, None]:
        """Digest of the manifests, for the record of a run."""
        names = marked_parts(self._filepath) or []
        return digest_all(stable_id(name, digest_json(facts_of(self._filepath / name))) for name in names), None

    def _exists(self) -> bool:
        return marked_parts(self._filepath) is not None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath.as_posix()}
