"""A BM25 index without Java, by bm25s (Lù, arXiv 2407.03618): the score of every term in every document, computed once.

The formula is that of Lucene, except that Lucene stores the length of a document in one byte.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ruri_kedro.errors import DataError

_DOCIDS = "docids.npy"


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
        self._docids = np.load(folder / _DOCIDS, mmap_mode="r", allow_pickle=False)

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
        found = np.flatnonzero(scores)
        if len(found) > k:
            found = found[scores[found] >= np.partition(scores[found], -k)[-k]]
        best = found[np.lexsort((found, -scores[found]))][:k]
        return [(str(docid), float(score)) for docid, score in zip(self._docids[best], scores[best], strict=True)]


def _bm25s() -> type:
    from bm25s import BM25

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG at import
    return BM25
