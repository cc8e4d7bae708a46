"""An index of token vectors on disk.

The folder holds a codec, segments, the rows that are deleted, and a manifest that names them and was written last.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from ruri_kedro.errors import DamagedError, DataError
from ruri_kedro.search.multi_vector.residuals import Codec
from ruri_kedro.search.multi_vector.segment import Segment
from ruri_kedro.tables.checksums import MANIFEST, fault_in, read_checked


@dataclass(frozen=True)
class Index:
    """An index that is there, as its manifest describes it; files are opened when they are needed."""

    folder: Path
    manifest: dict

    @cached_property
    def codec(self) -> Codec:
        """Centroids and buckets."""
        return Codec.load(self.folder)

    @cached_property
    def segments(self) -> list[Segment]:
        """The segments in order of their rows."""
        return [Segment(self.folder / name) for name in self.manifest["segments"]]

    @cached_property
    def deleted(self) -> list[np.ndarray]:
        """Of each segment, which of its documents (n,) are deleted, bool."""
        masks = [np.zeros(len(segment), dtype=bool) for segment in self.segments]
        if self.manifest["deleted"]:
            rows = np.load(self.folder / self.manifest["deleted"], allow_pickle=False)
            for number, row in rows:
                masks[number][row] = True
        return masks

    def docids(self) -> pa.ChunkedArray:
        """Docids of the documents that are not deleted."""
        kept = [
            segment.docids.filter(pa.array(~mask)) for segment, mask in zip(self.segments, self.deleted, strict=True)
        ]
        return pa.chunked_array([chunk for column in kept for chunk in column.chunks], type=pa.string())


def open_index(folder: Path, model: str | None) -> Index:
    """The index of a model, by its digest (None: of any), in `folder`.

    Raises DataError where there is none or that of another model, DamagedError for a file that is not what was written.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).exists():
        raise DataError(f"{folder}: there is no index of token vectors. Build it first (build_index).")
    manifest = read_checked(folder / MANIFEST)
    if model not in (None, manifest["model"]):
        raise DataError(
            f"{folder}: the index is of the model {manifest['model']}, not of {model}. Build it with this model."
        )
    if fault := fault_in(folder, manifest["files"]):
        raise DamagedError(fault, f"Remove {folder} and build the index again, or restore the file.")
    return Index(folder, manifest)
