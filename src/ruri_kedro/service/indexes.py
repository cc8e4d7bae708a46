"""The indexes of a collection: built once for a model, by digests of both, and opened from then on.

What searches among token vectors is imported when it is needed: it brings a compiler.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ruri_kedro.search.bm25.index import BM25Settings, build_index, open_searcher
from ruri_kedro.search.dense.embeddings import EmbeddingCache, Encode, Vectors, build_embeddings
from ruri_kedro.search.dense.faiss_index import as_floats
from ruri_kedro.search.dense.nearest import search_nearest, write_nearest_index
from ruri_kedro.search.dense.settings import NearestSettings
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings
from ruri_kedro.search.retriever import Hits
from ruri_kedro.service.stored_documents import Documents
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.store import key_of

_VECTORS = "vectors.npy"
_CACHE_BLOCK = 256  # texts that a killed build encodes again at most
_WRITTEN_AT_ONCE = 2**14

EncodeTokens = Callable[[list[str]], Sequence[np.ndarray]]  # texts to token vectors (tokens, d) of each
Search = Callable[[Sequence[np.ndarray], int], list[Hits]]  # (encoded queries, k) -> hits of each


def bm25_index(documents: Documents, settings: BM25Settings) -> Callable[[Sequence[str], int], list[Hits]]:
    """A search by BM25, (queries, k) -> hits of each, for one thread at a time."""
    code = behaviour_digest(build_index)
    key = key_of(documents=documents.digest, settings=settings.built_with, code=code)
    folder = documents.folder.parent / f"bm25-{key}"
    build_index(documents, folder, settings, key, len(documents))
    search = open_searcher(folder, settings)
    search(["東京"], 1)  # the first search is slow; nobody is to wait for it
    return search


def dense_index(
    documents: Documents, encoder: str, encode: Encode, root: Path, nearest: NearestSettings, threads: int
) -> Search:
    """A search by cosine among vectors of the documents, which are mapped from disk.

    encoder: key of all that a text's vector depends on besides the text. Texts that it has encoded before, for
    whichever collection, are not encoded again: so a killed build goes on where it was.
    """

    def index(vectors: Vectors, folder: Path) -> None:
        column = np.lib.format.open_memmap(folder / _VECTORS, "w+", np.float32, vectors.shape)
        for start in range(0, len(vectors), _WRITTEN_AT_ONCE):
            column[start : start + _WRITTEN_AT_ONCE] = as_floats(vectors[start : start + _WRITTEN_AT_ONCE])
        column.flush()
        write_nearest_index(column, folder, nearest, threads)

    key = key_of(
        documents=documents.digest, encoder=encoder, nearest=asdict(nearest), code=behaviour_digest(dense_index)
    )
    folder = documents.folder.parent / f"dense-{key}"
    cache = EmbeddingCache(root / "vectors" / encoder, _CACHE_BLOCK)
    build_embeddings(documents, folder, key, cache, encode, index, most=len(documents))
    matrix = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False).view(np.ndarray)

    def search(queries: Sequence[np.ndarray], k: int) -> list[Hits]:
        found = search_nearest(np.stack(queries), matrix, folder, k, nearest, threads)
        return [
            list(zip(documents.docids(rows[rows >= 0]), scores[rows >= 0].tolist(), strict=True))
            for rows, scores in zip(*found, strict=True)
        ]

    return search


def token_index(documents: Documents, encoder: str, encode: EncodeTokens, settings: MultiVectorSettings) -> Search:
    """A search by MaxSim among token vectors of the documents; `encoder` as of `dense_index`."""
    from ruri_kedro.search.multi_vector.retriever import MultiVectorRetriever
    from ruri_kedro.search.multi_vector.search import Searcher

    key = key_of(documents=documents.digest, encoder=encoder, settings=settings.built_with)
    folder = documents.folder.parent / f"tokens-{key}"
    MultiVectorRetriever(folder, settings, encoder, encode, encode, _CACHE_BLOCK).build(documents, key, len(documents))
    searcher = Searcher(folder, settings, encoder)
    return lambda queries, k: list(searcher.search(queries, k))
