"""Embeddings on disk: every text once per model in a cache of memory-mapped shards, collections as lists of ids."""

import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ruri_kedro.engines.engine import Engine
from ruri_kedro.errors import DataError
from ruri_kedro.tables.checksums import MANIFEST, fault_of, is_current, write_manifest
from ruri_kedro.tables.files import remove_leftover_dirs, replace_dir
from ruri_kedro.text.hashing import digest_all, stable_id

logger = logging.getLogger(__name__)

Encode = Callable[[list[str]], np.ndarray]

_VECTORS, _DIGESTS, _DOCUMENTS = "vectors.npy", "digests.npy", "documents.parquet"
_DIGEST_BYTES = 12
_DIGEST = np.dtype(f"S{_DIGEST_BYTES}")
_SCHEMA = pa.schema([("docid", pa.string()), ("digest", pa.binary(_DIGEST_BYTES))])


class ShardedVectors:
    """Rows of several memory-mapped shards as one array (n, d) that is read when it is indexed.

    `rows` (n,) int64 counts through the shards in their order.
    """

    ndim = 2

    def __init__(self, shards: Sequence[np.ndarray], rows: np.ndarray) -> None:
        self._shards = shards
        self._starts = np.cumsum([0, *map(len, shards)])
        self._rows = rows

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)"""
        return len(self._rows), self._shards[0].shape[1] if self._shards else 0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: slice | np.ndarray | Sequence[int]) -> np.ndarray:
        """The rows of a slice or of a list of row numbers, (m, d), in memory."""
        rows = self._rows[index]
        if not self._shards:
            return np.zeros((len(rows), 0), dtype=np.float32)
        found = np.empty((len(rows), self.shape[1]), dtype=self._shards[0].dtype)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(numbers):
            here = numbers == number
            found[here] = self._shards[number][rows[here] - self._starts[number]]
        return found


Vectors = ShardedVectors | np.ndarray


class EmbeddingCache:
    """Vectors by digest of their text, of one model, prompt and length, in a folder of shards that only grows.

    A shard is a folder of vectors `dtype` (m, d) and of digests in rising order; it is whole or not there. One that is
    damaged is removed, and its texts are encoded again. What is held in memory is one block of `block` texts with its
    vectors. Several processes may add at the same time: at worst they encode the same text twice.
    """

    def __init__(self, folder: Path, block: int, dtype: str = "float16") -> None:
        self._folder = Path(folder)
        self._dtype = dtype
        self.block = block
        self._vectors: list[np.ndarray] = []
        self._digests: list[np.ndarray] = []
        remove_leftover_dirs(self._folder)
        for manifest in sorted(self._folder.glob(f"[!.]*/{MANIFEST}")):
            self._open_sound(manifest.parent)

    def add(self, blocks: Iterable[tuple[np.ndarray, Sequence[str]]], encode: Encode, engine: Engine = map) -> None:
        """Encode the texts that are not there yet; blocks are digests (n,) and texts, each becomes a shard at most.

        An engine may have several blocks in flight; a text of two of them is encoded once.
        """
        in_flight: deque[dict[bytes, str]] = deque()

        def missing() -> Iterator[list[str]]:
            for digests, texts in blocks:
                new = {digests[i]: texts[i] for i in np.flatnonzero(self._rows(digests) < 0)}
                new = {digest: text for digest, text in new.items() if not any(digest in one for one in in_flight)}
                if new:
                    in_flight.append(new)
                    yield list(new.values())

        for encoded in engine(partial(_encoded, encode), missing()):
            vectors = encoded["vector"].combine_chunks()
            width = vectors.type.list_size
            digests = np.array([*in_flight.popleft()], dtype=_DIGEST)
            self._write(digests, vectors.flatten().to_numpy().reshape(-1, width))

    def has(self, digests: np.ndarray) -> bool:
        """Whether all of the digests are there."""
        return bool((self._rows(digests) >= 0).all())

    def vectors(self, digests: np.ndarray) -> ShardedVectors:
        """The vectors (n, d) of texts by their digests; raises DataError if one is not there."""
        rows = self._rows(digests)
        if (rows < 0).any():
            raise DataError(f"{self._folder}: {(rows < 0).sum()} embeddings are gone. Run negative_mining again.")
        return ShardedVectors(self._vectors, rows)

    def _rows(self, digests: np.ndarray) -> np.ndarray:
        """Row of each digest, counted through the shards, (n,) int64; -1 for one that is not there."""
        rows = np.full(len(digests), -1, dtype=np.int64)
        start = 0
        for known in self._digests:
            left = np.flatnonzero(rows < 0)
            place = np.minimum(np.searchsorted(known, digests[left]), len(known) - 1)
            found = known[place] == digests[left]
            rows[left[found]] = start + place[found]
            start += len(known)
        return rows

    def _write(self, digests: np.ndarray, vectors: np.ndarray) -> None:
        order = np.argsort(digests)
        name = digest_all(digest.hex() for digest in digests[order].tolist())
        with replace_dir(self._folder / name) as aside:
            np.save(aside / _VECTORS, vectors[order].astype(self._dtype), allow_pickle=False)
            np.save(aside / _DIGESTS, digests[order], allow_pickle=False)
            write_manifest(aside, {"texts": len(digests), "dimension": vectors.shape[1], "dtype": self._dtype})
        self._open(self._folder / name)

    def _open_sound(self, shard: Path) -> None:
        fault = fault_of(shard)
        try:
            if fault is None:
                self._open(shard)
        except (OSError, ValueError) as error:  # of 0.1, which wrote no checksums
            fault = f"{shard}: {error}"
        if fault is not None:
            logger.warning("%s. Its texts are encoded again.", fault)
            shutil.rmtree(shard, ignore_errors=True)

    def _open(self, shard: Path) -> None:
        vectors, digests = (np.load(shard / name, mmap_mode="r", allow_pickle=False) for name in (_VECTORS, _DIGESTS))
        self._vectors.append(vectors)
        self._digests.append(digests)


@dataclass(frozen=True)
class Embeddings:
    """vectors: (n, d), L2-normalised, read when indexed; docids: n Arrow strings, in the same order."""

    vectors: Vectors
    docids: pa.ChunkedArray

    def names(self, rows: np.ndarray) -> list[str]:
        """Docids of rows (m,)."""
        return self.docids.take(pa.array(rows)).to_pylist()

    def places(self, docids: Sequence[str]) -> np.ndarray:
        """Rows of docids, (m,) int64; raises DataError for one that is not there."""
        known, rows = self._sorted
        wanted = np.array(docids, dtype=np.bytes_)
        found = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        is_missing = known[found] != wanted if len(known) else np.ones(len(docids), dtype=bool)
        if is_missing.any():
            missing = docids[int(np.argmax(is_missing))]
            raise DataError(f"docid {missing} has no embedding here. Run negative_mining again.")
        return rows[found]

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The docids, which are ASCII, sorted, (n,) bytes; and their rows, (n,) int64. Sorted once for all queries."""
        chunks = [np.array(chunk.to_pylist(), dtype=np.bytes_) for chunk in self.docids.chunks]
        docids = np.concatenate([np.zeros(0, dtype="S1"), *chunks])
        order = np.argsort(docids, kind="stable")
        return docids[order], order


def build_embeddings(
    documents: Iterable[tuple[str, str]],
    folder: Path,
    key: str,
    cache: EmbeddingCache,
    encode: Encode,
    index: Callable[[Vectors, Path], None] | None = None,
    engine: Engine = map,
    most: int | None = None,
) -> None:
    """Put (docid, text) rows into the cache and the list of them into `folder`, unless what `key` stands for is there.

    Only texts that the cache does not have are encoded, a block at a time, where `engine` has it done. `index`, given
    the vectors and the folder that becomes `folder`, may write a search index. float16 halves the disk; its error of
    5e-4 is far below the distance between neighbouring ranks. There are `most` rows at most, if that is known.
    """
    if is_current(folder, key) and cache.has(_read(folder)[1]):
        return
    with replace_dir(folder) as aside:
        with pq.ParquetWriter(aside / _DOCUMENTS, _SCHEMA) as writer:
            told = tqdm(documents, total=most, unit="text", desc=f"embed {folder.name}", disable=None)
            encode_texts(told, cache, encode, engine, writer.write_batch)
        digests = _read(aside)[1]
        if index is not None:
            index(cache.vectors(digests), aside)
        write_manifest(aside, {"key": key, "documents": len(digests)})


def load_embeddings(folder: Path, cache: EmbeddingCache) -> Embeddings:
    """What `build_embeddings` wrote; raises DataError if it is not complete."""
    if not (folder / MANIFEST).exists():
        raise DataError(f"{folder}: no embeddings here. Run negative_mining again.")
    docids, digests = _read(folder)
    return Embeddings(cache.vectors(digests), docids)


def embed_texts(texts: Iterable[tuple[str, str]], cache: EmbeddingCache, encode: Encode) -> Embeddings:
    """Embeddings of (id, text) rows by way of the cache."""
    batches: list[pa.RecordBatch] = []
    encode_texts(texts, cache, encode, note=batches.append)
    docids, digests = _columns(pa.Table.from_batches(batches, schema=_SCHEMA))
    return Embeddings(cache.vectors(digests), docids)


def encode_texts(
    texts: Iterable[tuple[str, str]],
    cache: EmbeddingCache,
    encode: Encode,
    engine: Engine = map,
    note: Callable[[pa.RecordBatch], object] = lambda batch: None,
) -> None:
    """Put (id, text) rows into the cache, a block at a time; `note` is given the ids and digests of each."""

    def listed() -> Iterator[tuple[np.ndarray, list[str]]]:
        for ids, block in _blocks(texts, cache.block):
            digests = np.array([bytes.fromhex(stable_id(text)) for text in block], dtype=_DIGEST)
            note(_batch(ids, digests))
            yield digests, block

    cache.add(listed(), encode, engine)


def _encoded(encode: Encode, texts: list[str]) -> pa.Table:
    """The vectors of texts as an Arrow column, which any engine can carry."""
    vectors = np.ascontiguousarray(encode(texts))
    return pa.table({"vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])})


def _blocks(rows: Iterable[tuple[str, str]], size: int) -> Iterator[tuple[list[str], list[str]]]:
    stream = iter(rows)
    while block := list(islice(stream, size)):
        yield [docid for docid, _ in block], [text for _, text in block]


def _batch(docids: list[str], digests: np.ndarray) -> pa.RecordBatch:
    data = pa.py_buffer(np.ascontiguousarray(digests).tobytes())
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_DIGEST_BYTES), len(digests), [None, data])
    return pa.record_batch([pa.array(docids, type=pa.string()), column], schema=_SCHEMA)


def _read(folder: Path) -> tuple[pa.ChunkedArray, np.ndarray]:
    return _columns(pq.read_table(folder / _DOCUMENTS))


def _columns(table: pa.Table) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Docids, and digests (n,) bytes."""
    chunks = [_digests(chunk) for chunk in table["digest"].chunks]
    return table["docid"], np.concatenate(chunks) if chunks else np.zeros(0, dtype=_DIGEST)


def _digests(column: pa.FixedSizeBinaryArray) -> np.ndarray:
    return np.frombuffer(column.buffers()[1], dtype=_DIGEST, offset=column.offset * _DIGEST_BYTES, count=len(column))
