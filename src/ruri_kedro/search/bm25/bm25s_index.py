"""A BM25 index without Java, by bm25s (Lù, arXiv 2407.03618): the score of every term in every document, computed once.

The formula is that of Lucene, except that Lucene stores the length of a document in one byte.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ruri_kedro.errors import DataError

_DOCIDS = "docids.npy"
_GROUPS = 8  # of documents for each hit that is asked for


def write_index(blocks: Iterable[Sequence[tuple[str, str]]], folder: Path, k1: float, b: float) -> None:
    """Index blocks of (docid, terms with a space between them) in `folder`; raises DataError if docids recur.

    The ids of all terms are held in memory, four bytes each, and while bm25s builds its matrix several times that.
    """
    vocabulary: dict[str, int] = {}
    documents = {}
    count = 0
    for block in blocks:
        count += len(block)
        for docid, terms in block:
            ids = [vocabulary.setdefault(term, len(vocabulary)) for term in terms.split()]
            documents[docid] = np.array(ids, dtype=np.int32)
    if len(documents) != count:
        raise DataError(f"{folder}: {count} documents have only {len(documents)} docids. Docids are unique.")
    if not count:
        return
    docids = sorted(documents)  # so that equal scores, which stand in order of row, stand in order of docid
    index = _bm25s()(method="lucene", k1=k1, b=b)
    index.index(([documents[docid] for docid in docids], vocabulary), create_empty_token=False, show_progress=False)
    index.save(folder, show_progress=False)
    np.save(folder / _DOCIDS, np.array(docids, dtype=np.str_), allow_pickle=False)


class EagerSearcher:
    """BM25 search in an index that `write_index` made, which is memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self._index = _bm25s().load(folder, mmap=True, show_progress=False)
        # The same memory map as a plain array: NumPy takes twice as long to cut pieces from a memmap.
        self._index.scores = {name: _plain(values) for name, values in self._index.scores.items()}
        self._docids = _plain(np.load(folder / _DOCIDS, mmap_mode="r", allow_pickle=False))

    def search(self, queries: Sequence[str], k: int, threads: int) -> list[list[tuple[str, float]]]:
        """The `k` best (docid, score) of each query, best first, equal scores in order of docid.

        bm25s adds up scores in NumPy, which takes one thread, whatever `threads` says.
        """
        return [self._best(self._index.get_tokens_ids(query.split()), k) for query in queries]

    def close(self) -> None:
        """Release the index files."""
        del self._index, self._docids

    def _best(self, terms: list[int], k: int) -> list[tuple[str, float]]:
        if not terms:
            return []
        scores = self._index.get_scores_from_ids(terms)
        found = np.flatnonzero(scores >= _reached(scores, k))
        best = found[np.argsort(-scores[found], kind="stable")][:k]
        return list(zip(self._docids[best].tolist(), scores[best].tolist(), strict=True))


def _reached(scores: np.ndarray, k: int) -> np.floating:
    """A score above 0 that `k` of the scores (n,) reach, or all that are above 0 if these are fewer.

    The documents are dealt to groups; the k-th best of the groups' best is such a score. It costs one pass, where a
    partition of all scores, most of them equal to 0, takes a hundred times as long.
    """
    size = len(scores) // (_GROUPS * k)
    best = scores[: size * _GROUPS * k].reshape(size, -1).max(axis=0) if size else scores[:0]
    floor = np.partition(best, -k)[-k] if size else scores.dtype.type(0)
    return floor if floor > 0 else np.nextafter(scores.dtype.type(0), scores.dtype.type(1))


def _plain(values: np.ndarray | int) -> np.ndarray | int:
    return values.view(np.ndarray) if isinstance(values, np.memmap) else values


def _bm25s() -> type:
    from bm25s import BM25

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG at import
    return BM25
