"""A folder of raw corpora, read only."""

import hashlib
from pathlib import Path
from typing import Any, NoReturn

from kedro.io.core import AbstractDataset

from ruri_kedro.errors import DataError


class RawFolder(AbstractDataset[NoReturn, Path]):
    """The folder that holds the raw corpora of a recipe; what is in it is checked by its readers.

    A recipe whose sources may all be on the hub does without (`needed: false`); a file that a source lacks is then
    named with the source.

    >>> RawFolder(filepath="data/01_raw/sample")
    """

    def __init__(self, *, filepath: str, needed: bool = True, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self._needed = needed
        self.metadata = metadata

    def load(self) -> Path:
        """The folder's path; raises DatasetError with the remedies if there is no such folder."""
        if not self._exists():
            raise DataError(f"{self._filepath}: no such folder. {self.remedy}")
        return self._filepath

    @property
    def remedy(self) -> str:
        """What a user can do when the folder is not there."""
        return (
            "Restore it (git checkout or dvc pull), make the sample (python -m ruri_kedro.corpora.sample), fetch mini "
            "(python -m ruri_kedro.corpora.fetch mini), or name another folder (kedro run --params raw_root=FOLDER)."
        )

    def fingerprint(self) -> tuple[str, None]:
        """Digest of the names and bytes of all files, for the record of a run."""
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(file for file in self._filepath.rglob("*") if file.is_file()):
            with path.open("rb") as handle:
                content = hashlib.file_digest(handle, "blake2b").hexdigest()
            digest.update(f"{path.relative_to(self._filepath).as_posix()}\0{content}\0".encode())
        return digest.hexdigest(), None

    def save(self, data: NoReturn) -> None:
        """Refused: raw data are never written by a pipeline."""
        raise DataError(f"{self._filepath}: raw data are read only. Give the output a data set of its own.")

    def _exists(self) -> bool:
        return not self._needed or (self._filepath.is_dir() and any(self._filepath.iterdir()))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath.as_posix()}
