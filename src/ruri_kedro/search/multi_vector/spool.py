"""Token vectors on their way into an index: shards of float16 on disk, each whole or not there."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ruri_kedro.errors import DamagedError, DataError
from ruri_kedro.tables.checksums import checksum, fault_in, read_checked, write_checked
from ruri_kedro.tables.files import replace_file

# Docids, their token vectors (tokens, d) one document after the other, of length 1, and how many each has.
Block = tuple[Sequence[str], np.ndarray, Sequence[int]]
# The blocks of the documents from this number on, counted from 0.
Blocks = Callable[[int], Iterable[Block]]

DOCUMENTS = pa.schema([("docid", pa.string()), ("tokens", pa.int32())])
_LENGTH_ERROR = 1e-2  # of a vector; float16 rounds to 1e-3
_MULTIPLE = 8  # components that a byte of one bit each holds


@dataclass(frozen=True)
class Spool:
    """The shards in a folder, numbered from 0."""

    folder: Path

    def shards(self) -> list[dict]:
        """What is known of each shard (documents, blank, tokens), up to the first that is missing or damaged."""
        found: list[dict] = []
        while (path := self._path("shard", len(found), "json")).exists():
            try:
                said = read_checked(path)
            except DamagedError:
                break
            if fault_in(self.folder, said["files"]):
                break
            found.append(said)
        return found

    def vectors(self, number: int) -> np.ndarray:
        """The vectors of a shard (tokens, d) float16, memory-mapped."""
        return np.load(self._path("vectors", number, "npy"), mmap_mode="r", allow_pickle=False)

    def documents(self, number: int) -> pa.Table:
        """Docid and number of tokens of the documents of a shard."""
        return pq.read_table(self._path("documents", number, "parquet"))

    def dimension(self) -> int | None:
        """Components of the vectors; None where there are none."""
        filled = (number for number, shard in enumerate(self.shards()) if shard["tokens"])
        return next((self.vectors(number).shape[1] for number in filled), None)

    def fill(self, blocks: Blocks, shard_tokens: int) -> None:
        """Write the shards that are missing, each of `shard_tokens` or a document more.

        Where shards end does not depend on blocks. A document without vectors counts as blank, since nothing can find
        it, and is not written. Raises DataError for a block that is not as `Block` says.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        done = self.shards()
        first = sum(shard["documents"] + shard["blank"] for shard in done)
        documents = _documents(blocks(first), self.dimension())
        for number, shard in enumerate(_shards(documents, shard_tokens), start=len(done)):
            self._write(number, shard)

    def _write(self, number: int, shard: list[tuple[str, np.ndarray]]) -> None:
        kept = [(docid, vectors) for docid, vectors in shard if len(vectors)]
        columns = [[docid for docid, _ in kept], [len(vectors) for _, vectors in kept]]
        with replace_file(self._path("documents", number, "parquet")) as aside:
            pq.write_table(pa.table(columns, schema=DOCUMENTS), aside)
        with replace_file(self._path("vectors", number, "npy")) as aside, aside.open("wb") as file:
            vectors = [vectors for _, vectors in kept] or [np.zeros((0, 0), np.float16)]
            np.save(file, np.concatenate(vectors), allow_pickle=False)
        paths = [self._path("documents", number, "parquet"), self._path("vectors", number, "npy")]
        said = {"documents": len(kept), "blank": len(shard) - len(kept), "tokens": sum(columns[1])}
        write_checked(
            self._path("shard", number, "json"), {**said, "files": {path.name: checksum(path) for path in paths}}
        )

    def _path(self, kind: str, number: int, ending: str) -> Path:
        return self.folder / f"{kind}-{number:05d}.{ending}"


def _shards(documents: Iterable[tuple[str, np.ndarray]], shard_tokens: int) -> Iterator[list[tuple[str, np.ndarray]]]:
    """Documents in lists of `shard_tokens` vectors."""
    shard: list[tuple[str, np.ndarray]] = []
    tokens = 0
    for docid, vectors in documents:
        shard.append((docid, vectors))
        tokens += len(vectors)
        if tokens >= shard_tokens:
            yield shard
            shard, tokens = [], 0
    if shard:
        yield shard


def _documents(blocks: Iterable[Block], dimension: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """(docid, vectors) of each document of the blocks, which are checked; `dimension` is that of earlier ones."""
    for docids, vectors, lengths in blocks:
        if len(docids) != len(lengths) or vectors.ndim != 2 or sum(lengths) != len(vectors):
            raise DataError(
                f"a block has {len(docids)} docids, {len(lengths)} lengths with a sum of {sum(lengths)}, and vectors "
                f"of shape {vectors.shape}. It needs a length for each docid and a vector for each token."
            )
        ends = np.cumsum(lengths)
        if len(vectors):
            dimension = vectors.shape[1] if dimension is None else dimension
            _check_dimension(vectors.shape[1], dimension)
            _check_lengths(docids, vectors, ends)
        yield from zip(docids, np.split(vectors.astype(np.float16), ends[:-1]), strict=True)


def _check_dimension(found: int, expected: int) -> None:
    if found != expected:
        raise DataError(f"token vectors of {found} components after vectors of {expected}. Encode all with one model.")
    if found % _MULTIPLE:
        raise DataError(f"token vectors of {found} components: an index takes multiples of {_MULTIPLE}.")


def _check_lengths(docids: Sequence[str], vectors: np.ndarray, ends: np.ndarray) -> None:
    """Raise DataError for a vector whose length is not 1."""
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _LENGTH_ERROR))
    if len(wrong):
        docid = docids[int(np.searchsorted(ends, wrong[0], side="right"))]
        raise DataError(f"docid {docid}: a token vector has length {lengths[wrong[0]]:.4g}. Normalise vectors to 1.")
