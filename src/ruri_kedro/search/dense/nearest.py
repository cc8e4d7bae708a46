"""Dense search by the kind of index that fits a collection's size: exact, or an approximate one of faiss on disk."""

from pathlib import Path
from typing import Any

import numpy as np

from ruri_kedro.errors import DataError
from ruri_kedro.search.dense import faiss_index as dense
from ruri_kedro.search.dense.embeddings import Vectors
from ruri_kedro.search.dense.settings import NearestSettings

INDEX = "index.faiss"
_ADDED_AT_ONCE = 2**16
_TRAINED_PER_CELL = 64  # faiss asks for 39 at least


def write_nearest_index(vectors: Vectors, folder: Path, settings: NearestSettings, threads: int) -> None:
    """An approximate index of (n, d) vectors in `folder`, if their number calls for one.

    Vectors are read in blocks; the index itself is in memory (IVF: 2 d bytes per document, HNSW: 4 d + 8 links).
    On a GPU, if faiss has one, the clusters of IVF are trained there. HNSW is built by one thread: with several its
    links depend on chance.
    """
    import faiss

    kind = settings.kind_for(len(vectors))
    if kind == "flat":
        return
    with dense.threads_of_faiss(1 if kind == "hnsw" else threads):
        index = _empty(kind, vectors, settings)
        for start in range(0, len(vectors), _ADDED_AT_ONCE):
            index.add(dense.as_floats(vectors[start : start + _ADDED_AT_ONCE]))
        faiss.write_index(index, str(folder / INDEX))


def search_nearest(
    queries: Vectors, vectors: Vectors, folder: Path, k: int, settings: NearestSettings, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `dense.search`, through the index in `folder` where the size of the collection calls for one.

    An approximate index may find fewer than k; the places left have index -1. Raises DataError if it is not there.
    """
    kind = settings.kind_for(len(vectors))
    if kind == "flat":
        return dense.search(queries, vectors, k, threads)
    if not (folder / INDEX).exists():
        raise DataError(f"{folder}: there is no {INDEX} for {len(vectors)} documents. Run negative_mining again.")
    index = _open(folder / INDEX, kind, settings)
    k = min(k, len(vectors))
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.zeros((len(queries), k), dtype=np.float32)
    with dense.threads_of_faiss(threads):
        for start in range(0, len(queries), dense.QUERY_BLOCK):
            rows = slice(start, start + dense.QUERY_BLOCK)
            scores[rows], indices[rows] = index.search(dense.as_floats(queries[rows]), k)
    return indices, scores


def _empty(kind: str, vectors: Vectors, settings: NearestSettings) -> Any:
    """An index without documents; IVF's clusters are trained on documents at equal distances in the collection."""
    import faiss

    dimension = vectors.shape[1]
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, settings.links, metric)
        index.hnsw.efConstruction = settings.effort
        return index
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension), dimension, settings.cells, faiss.ScalarQuantizer.QT_fp16, metric
    )
    sample = np.linspace(0, len(vectors) - 1, min(len(vectors), _TRAINED_PER_CELL * settings.cells)).astype(np.int64)
    gpus = faiss.get_num_gpus()
    if gpus:
        index.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(dimension))
    index.train(dense.as_floats(vectors[sample]))
    if gpus:
        index.clustering_index = None
    return index


def _open(path: Path, kind: str, settings: NearestSettings) -> Any:
    import faiss

    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    if kind == "hnsw":
        index.hnsw.efSearch = settings.effort
    else:
        index.nprobe = settings.probes
    return index
