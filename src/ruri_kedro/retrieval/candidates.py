"""Rows of the candidates table: what each retriever found for each query, fused."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat

import numpy as np

from ruri_kedro.retrieval.embeddings import Embeddings
from ruri_kedro.retrieval.fusion import reciprocal_rank_fusion

Ranking = Sequence[tuple[str, float]]  # (docid, score), best first


def distinct_queries(pairs: Iterator[Mapping], texts: Mapping[str, str]) -> dict[str, str]:
    """Text by query_id of the anchors of pairs, each query once, in order of the pairs."""
    return {row["query_id"]: texts[row["anchor"]] for row in pairs}


def dense_rankings(queries: np.ndarray, collection: Embeddings, depth: int, threads: int) -> list[Ranking]:
    """The `depth` nearest documents of each query vector, by inner product."""
    from ruri_kedro.retrieval.dense import search

    indices, scores = search(queries, collection.vectors, depth, threads)
    return [
        [(collection.docids[i], float(score)) for i, score in zip(row, row_scores, strict=True)]
        for row, row_scores in zip(indices, scores, strict=True)
    ]


def candidate_rows(
    source: str,
    collection: str,
    query_ids: Iterable[str],
    bm25: Iterable[Ranking],
    dense: Iterable[Ranking] | None,
    depth: int,
    rrf_k: int,
) -> Iterator[dict]:
    """One row per query, docids by fused rank (Ruri, Section 3.1), at most `depth` of them.

    With `dense` None the rank is BM25's own.
    """
    for query_id, sparse, near in zip(query_ids, bm25, repeat([]) if dense is None else dense):  # noqa: B905
        rankings = {"bm25": sparse, "dense": near}
        orders = [[docid for docid, _ in ranking] for ranking in rankings.values() if ranking]
        fused = orders[0] if len(orders) == 1 else [docid for docid, _ in reciprocal_rank_fusion(orders, rrf_k)]
        docids = fused[:depth]
        row = {"query_id": query_id, "source": source, "collection": collection, "docids": docids}
        for name, ranking in rankings.items():
            place = {docid: (rank, score) for rank, (docid, score) in enumerate(ranking, start=1)}
            row[f"{name}_ranks"] = [place.get(docid, (0, 0.0))[0] for docid in docids]
            row[f"{name}_scores"] = [place.get(docid, (0, 0.0))[1] for docid in docids]
        yield row
