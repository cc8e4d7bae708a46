"""Building an index of token vectors.

What is being written stands beside the index in a folder that is kept if the process is killed. The same call goes on
with it, and the files are those of a call that was not killed.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ruri_kedro.errors import DataError
from ruri_kedro.search.multi_vector.centroids import POINTS
from ruri_kedro.search.multi_vector.index import FORMAT
from ruri_kedro.search.multi_vector.residuals import BUCKETS, CENTROIDS, Codec, fit_codec
from ruri_kedro.search.multi_vector.segment import write_segment
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings, number_of_centroids
from ruri_kedro.search.multi_vector.spool import Blocks, Spool
from ruri_kedro.tables.checksums import MANIFEST, checksum, checksums, is_current, read_checked, write_checked
from ruri_kedro.tables.files import UNFINISHED, move_dir, remove_leftovers, sole_writer
from ruri_kedro.tables.store import key_of

KEY = "key.json"
_CODEC, _SPOOL = "codec.json", "spool"
_UNFINISHED = (KEY, _CODEC, _SPOOL)
_FIRST = "segment-00000"


def build_index(blocks: Blocks, folder: Path, settings: MultiVectorSettings, model: str, key: str) -> None:
    """Index token vectors in `folder`, unless an index of the same documents (`key`), model and settings is there.

    `model` is the digest of the model that made the vectors. In memory are `shard_tokens` vectors and the sample for
    k-means; on disk stand all vectors in float16 until the end. Raises DataError if docids recur, vectors are not of
    length 1 or there are none; the folder is then as it was.
    """
    folder = Path(folder)
    key = key_of(documents=key, model=model, settings=settings.built_with, format=FORMAT)
    with sole_writer(folder):
        remove_leftovers(folder)
        work = folder.parent / f"{UNFINISHED}{folder.name}"
        if not is_current(folder, key):
            if not is_current(work, key):
                begin(work, key)
                _build(blocks, work, settings, {"key": key, "model": model})
            _tidy(work)
            move_dir(work, folder)


def _build(blocks: Blocks, work: Path, settings: MultiVectorSettings, facts: dict) -> None:
    """Write the index into its unfinished folder, whose files an earlier call may have begun."""
    spool = Spool(work / _SPOOL)
    counts = fill_spool(blocks, spool, settings.shard_tokens)
    if not counts["tokens"]:
        shutil.rmtree(work)
        raise DataError(f"{work.parent}: there is no document with a token vector to index. Look at the documents.")
    codec = _codec(spool, counts["tokens"], work, settings)
    write_segment(spool, work / _FIRST, codec, settings.threads)
    shape = {"dimension": codec.dimension, "bits": codec.bits, "centroids": len(codec.centroids)}
    described = {"format": FORMAT, **facts, **shape, **counts, "segments": [_FIRST], "deleted": None, "added": None}
    files = {name: said for name, said in checksums(work).items() if name.split("/")[0] not in _UNFINISHED}
    write_checked(work / MANIFEST, {**described, "files": files})


def _tidy(work: Path) -> None:
    """Remove what only an unfinished index needs."""
    shutil.rmtree(work / _SPOOL, ignore_errors=True)
    for name in (KEY, _CODEC):
        (work / name).unlink(missing_ok=True)


def begin(work: Path, key: str) -> None:
    """Make the unfinished folder of a call, unless an earlier call with the same key has left it."""
    if not (work / KEY).exists() or read_checked(work / KEY)["key"] != key:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_checked(work / KEY, {"key": key})


def fill_spool(
    blocks: Blocks, spool: Spool, shard_tokens: int, check: Callable[[pa.ChunkedArray, int | None], None] | None = None
) -> dict[str, int]:
    """Write documents to a spool; how many documents, blank ones and tokens there are.

    `check` sees the docids and the size of the vectors, None where there are none. Where it or the spool finds a fault,
    no unfinished folder is left.
    """
    try:
        spool.fill(blocks, shard_tokens)
        shards = spool.shards()
        columns = [spool.documents(number)["docid"].combine_chunks() for number in range(len(shards))]
        docids = pa.chunked_array(columns, type=pa.string())
        if pc.count_distinct(docids).as_py() != len(docids):
            refuse_doubles(docids.to_pylist())
        if check:
            check(docids, spool.dimension())
    except DataError:
        shutil.rmtree(spool.folder.parent)
        raise
    return {name: sum(shard[name] for shard in shards) for name in ("documents", "blank", "tokens")}


def refuse_doubles(docids: Sequence[str]) -> None:
    """Raise DataError for the first docid that is there twice."""
    if doubles := [docid for docid, count in Counter(docids).items() if count > 1]:
        raise DataError(f"docid {doubles[0]} is there {Counter(docids)[doubles[0]]} times. Docids are unique.")


def _codec(spool: Spool, tokens: int, work: Path, settings: MultiVectorSettings) -> Codec:
    """The codec of the spooled vectors, made unless an earlier call has written it."""
    done = work / _CODEC
    if not done.exists():
        number = number_of_centroids(tokens, settings.centroids)
        fit_codec(_sample(spool, min(tokens, POINTS * number), settings.seed), number, settings).save(work)
        write_checked(done, {"files": {name: checksum(work / name) for name in (CENTROIDS, BUCKETS)}})
    return Codec.load(work)


def _sample(spool: Spool, size: int, seed: int) -> np.ndarray:
    """So many vectors (size, d) float16, drawn from all shards by their numbers of tokens."""
    rng = np.random.default_rng(seed)
    tokens = [shard["tokens"] for shard in spool.shards()]
    ends = np.cumsum(tokens) * size // sum(tokens)
    counts = np.diff(ends, prepend=0)
    drawn = [
        spool.vectors(number)[np.sort(rng.choice(tokens[number], count, replace=False, shuffle=False))]
        for number, count in enumerate(counts.tolist())
        if count
    ]
    return np.concatenate(drawn)
