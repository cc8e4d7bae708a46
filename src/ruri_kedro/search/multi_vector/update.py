"""Adding documents to an index of token vectors, and taking documents away, without building it anew."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ruri_kedro.errors import DataError
from ruri_kedro.search.multi_vector.build import KEY, begin, fill_spool, refuse_doubles
from ruri_kedro.search.multi_vector.index import Index, open_index
from ruri_kedro.search.multi_vector.segment import write_segment
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings
from ruri_kedro.search.multi_vector.spool import Blocks, Spool
from ruri_kedro.tables.checksums import MANIFEST, checksum, checksums, read_checked, write_checked
from ruri_kedro.tables.files import move_dir, replace_file, sole_writer
from ruri_kedro.tables.store import key_of
from ruri_kedro.text.hashing import digest_all

_ADDING = ".unfinished"


def add_documents(blocks: Blocks, folder: Path, settings: MultiVectorSettings, model: str, key: str) -> None:
    """Add documents to an index, by its centroids; `key` stands for them. Nothing is done if they were added last.

    Raises as `open_index` and `build_index`, and DataError for a docid that is there; the index is then as it was.
    """
    folder = Path(folder)
    with sole_writer(folder):
        index = open_index(folder, model)
        if index.manifest["added"] == key:
            shutil.rmtree(folder / _ADDING, ignore_errors=True)
            return
        name = f"segment-{len(index.manifest['segments']):05d}"
        work = folder / _ADDING
        begin(work, key_of(before=index.manifest["key"], added=key))
        spool = Spool(work / "spool")
        counts = fill_spool(blocks, spool, settings.shard_tokens, partial(_check_new, index))
        write_segment(spool, work / name, index.codec, settings.threads)
        move_dir(work / name, folder / name)
        added = {f"{name}/{path}": said for path, said in checksums(folder / name).items()}
        changed = {count: index.manifest[count] + counts[count] for count in counts}
        segments = [*index.manifest["segments"], name]
        described = {"key": read_checked(work / KEY)["key"], "added": key, "segments": segments}
        _replace_manifest(index, {**changed, **described}, added)
        shutil.rmtree(work)


def delete_documents(folder: Path, docids: Sequence[str], model: str | None) -> None:
    """Take documents out of the index of a model (None: of any); their vectors stay on disk until it is built anew.

    Raises as `open_index`, and DataError for a docid that is not there or is named twice; nothing is then deleted.
    """
    folder = Path(folder)
    with sole_writer(folder):
        index = open_index(folder, model)
        refuse_doubles(docids)
        rows = np.concatenate([_rows(index), _find(index, docids)])
        number = 1 + int((index.manifest["deleted"] or "deleted-00000.npy")[8:13])
        name = f"deleted-{number:05d}.npy"
        with replace_file(folder / name) as aside, aside.open("wb") as file:
            np.save(file, rows[np.lexsort(rows.T[::-1])], allow_pickle=False)
        key = key_of(before=index.manifest["key"], deleted=digest_all(sorted(docids)))
        changed = {"key": key, "added": None, "deleted": name, "documents": index.manifest["documents"] - len(docids)}
        _replace_manifest(index, changed, {name: checksum(folder / name)})


def _check_new(index: Index, docids: pa.ChunkedArray, dimension: int | None) -> None:
    """Raise DataError for documents that an index cannot take."""
    known = docids.filter(pc.is_in(docids, value_set=index.docids().combine_chunks()))
    if len(known):
        raise DataError(f"{index.folder}: docid {known[0]} is in the index. Delete it first, or give another docid.")
    if dimension not in (None, index.codec.dimension):
        raise DataError(
            f"{index.folder}: vectors of {dimension} components for an index of {index.codec.dimension}. "
            "Encode them with the model of the index."
        )


def _rows(index: Index) -> np.ndarray:
    """(segment, row) of each deleted document, (n, 2) int64."""
    rows = [
        np.stack([np.full(mask.sum(), number), np.flatnonzero(mask)], 1) for number, mask in enumerate(index.deleted)
    ]
    return np.concatenate(rows)


def _find(index: Index, docids: Sequence[str]) -> np.ndarray:
    """(segment, row) of documents, (n, 2) int64, in any order."""
    wanted = pa.array(docids, type=pa.string())
    found = []
    for number, (segment, mask) in enumerate(zip(index.segments, index.deleted, strict=True)):
        rows = np.flatnonzero(pc.is_in(segment.docids, value_set=wanted).to_numpy() & ~mask)
        found.append(np.stack([np.full(len(rows), number), rows], 1))
    rows = np.concatenate(found)
    if len(rows) != len(docids):
        missing = wanted.filter(pc.invert(pc.is_in(wanted, value_set=index.docids().combine_chunks())))
        raise DataError(f"{index.folder}: docid {missing[0]} is not in the index, so nothing was deleted.")
    return rows


def _replace_manifest(index: Index, changed: dict, added: dict) -> None:
    """Write the manifest of a changed index, then remove the list of deleted rows that it no longer names."""
    facts = {**index.manifest, **changed}
    old = index.manifest["deleted"]
    files = {name: said for name, said in index.manifest["files"].items() if name != old or facts["deleted"] == old}
    write_checked(index.folder / MANIFEST, {**facts, "files": {**files, **added}})
    if old and facts["deleted"] != old:
        (index.folder / old).unlink()
