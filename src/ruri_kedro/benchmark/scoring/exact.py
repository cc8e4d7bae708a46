"""Exact search over vectors in memory: what a retrieval score is measured with, free of an index's losses."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ruri_kedro.benchmark.runs import Run

_BLOCK_SCORES = 2**25  # scores held at once: 128 MiB


def search_exact(
    qids: Sequence[str],
    queries: np.ndarray,
    docids: Sequence[str],
    documents: np.ndarray,
    k: int,
    block_scores: int = _BLOCK_SCORES,
) -> Run:
    """The `k` documents with the highest inner product for each query, best first.

    `queries` (q, d) and `documents` (n, d) are float32; at most `block_scores` products (but one query's) are held
    at once. Among equal scores the higher docid comes first, also at the cut, as in trec_eval.
    """
    rows = max(1, block_scores // max(1, len(docids)))
    scores = (row for start in range(0, len(qids), rows) for row in queries[start : start + rows] @ documents.T)
    return best_documents(qids, docids, scores, k)


def best_documents(qids: Sequence[str], docids: Sequence[str], scores: Iterable[np.ndarray], k: int) -> Run:
    """The `k` documents with the highest scores, (n,) for each query; ties as `search_exact`."""
    tie_rank = np.empty(len(docids), dtype=np.int64)
    tie_rank[sorted(range(len(docids)), key=docids.__getitem__, reverse=True)] = np.arange(len(docids))
    return {
        qid: {docids[i]: float(row[i]) for i in _best(row, tie_rank, k)} for qid, row in zip(qids, scores, strict=True)
    }


def _best(scores: np.ndarray, tie_rank: np.ndarray, k: int) -> np.ndarray:
    """Places of the k highest scores, best first; the lowest tie rank wins among equals."""
    places = np.arange(len(scores))
    if k < len(scores):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        # A partition cuts ties at random: every place at the threshold stays in until the sort.
        places = np.flatnonzero(scores >= threshold)
    return places[np.lexsort((tie_rank[places], -scores[places]))[:k]]


def score_candidates(run: Run, queries: np.ndarray, documents: Mapping[str, np.ndarray]) -> Run:
    """The run's candidates with inner products as scores; `queries` (q, d) are in the order of the run's queries."""
    rescored: Run = {}
    for (qid, candidates), query in zip(run.items(), queries, strict=True):
        # One product per document: its score must not depend on which others are candidates.
        rescored[qid] = {docid: float(np.dot(documents[docid], query)) for docid in candidates}
    return rescored
