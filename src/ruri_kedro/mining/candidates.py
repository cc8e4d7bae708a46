"""Rows of the candidates table: what each retriever found for each query, and how to read them as rankings."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ruri_kedro.search.dense.embeddings import Embeddings
from ruri_kedro.search.fusion import reciprocal_rank_fusion

Ranking = Sequence[tuple[str, float]]  # (docid, score), best first

# (numbers of queries in the order of the rows, docids of each) -> the scores of these.
Score = Callable[[Sequence[int], Sequence[Sequence[str]]], list[list[float]]]

# Columns that `candidates_of` reads.
COLUMNS = ["query_id", "docids", "bm25_ranks", "dense_ranks", "dense_scores", "positives", "positive_scores"]
# Whose rankings a strategy reads.
RETRIEVERS = {"bm25": ("bm25",), "dense": ("dense",), "rrf": ("bm25", "dense")}
_SCORED_AT_ONCE = 1024
_NONE = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Candidates:
    """One query's candidates, as arrays: rows of the table hold hundreds of values that few strategies read."""

    docids: np.ndarray  # (c,) of str, of all retrievers, by fused rank
    ranks: Mapping[str, np.ndarray]  # (c,) by retriever; 0 where it did not find a document
    dense_scores: np.ndarray  # (c,) cosines; empty without dense search
    positives: np.ndarray  # (p,) docids of the known positives
    positive_scores: np.ndarray  # (p,) their cosines; empty without dense search
    depth: int  # ranks of a ranking
    avoided: Collection[str] = ()  # docids that are not read, such as texts of a test

    def ranked(self, strategy: str) -> list[str]:
        """Docids best first, at most `depth`, by the retriever that the strategy names, or fused (`rrf`)."""
        docids = self.docids
        if strategy != "rrf":
            ranks = self.ranks[strategy]
            found = np.flatnonzero(ranks)
            docids = docids[found[np.argsort(ranks[found])]]
        ranked = docids[: self.depth].tolist()
        return [docid for docid in ranked if docid not in self.avoided] if self.avoided else ranked

    def score(self, docid: str) -> float:
        """Cosine of a candidate or known positive with the query; the search was dense."""
        for docids, scores in ((self.positives, self.positive_scores), (self.docids, self.dense_scores)):
            places = np.flatnonzero(docids == docid)
            if places.size:
                return float(scores[places[0]])
        raise KeyError(docid)

    def scored_from(self, least: float) -> set[str]:
        """The candidates with a cosine of `least` or more; none without dense search."""
        return set(self.docids[np.flatnonzero(self.dense_scores.astype(np.float64) >= least)].tolist())


def candidates_of(batch: pa.RecordBatch, depth: int, avoided: Collection[str] = ()) -> Iterator[tuple[str, Candidates]]:
    """(query_id, candidates) of the rows of a batch of the candidates table."""
    names = COLUMNS[1:]
    columns = zip(*(_arrays(batch.column(name)) for name in names), strict=True)
    for query_id, row in zip(batch.column("query_id").to_pylist(), columns, strict=True):
        value = dict(zip(names, row, strict=True))
        dense = value["dense_ranks"].any()
        yield (
            query_id,
            Candidates(
                value["docids"],
                {name: value[f"{name}_ranks"] for name in RETRIEVERS["rrf"]},
                value["dense_scores"] if dense else _NONE,
                value["positives"],
                value["positive_scores"] if dense else _NONE,
                depth,
                avoided,
            ),
        )


def _arrays(lists: pa.ListArray) -> Iterator[np.ndarray]:
    """The list of each row as a view of one array; a docid is one Python string, however often it stands there."""
    values = lists.flatten()
    if pa.types.is_string(values.type):
        coded = values.dictionary_encode()
        values = coded.dictionary.to_numpy(zero_copy_only=False)[coded.indices.to_numpy()]
    else:
        values = values.to_numpy(zero_copy_only=False)
    ends = np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False)).tolist()
    return (values[start:end] for start, end in pairwise([0, *ends]))


def dense_rankings(
    indices: np.ndarray, scores: np.ndarray, collection: Embeddings
) -> Iterator[list[tuple[str, float]]]:
    """A ranking per query from rows of the collection (q, k) and their scores (q, k); index -1 is not a document."""
    for row, row_scores in zip(indices, scores, strict=True):
        found = row >= 0
        yield list(zip(collection.names(row[found]), row_scores[found].tolist(), strict=True))


def candidate_rows(
    source: str,
    collection: str,
    query_ids: Collection[str],
    rankings: Mapping[str, Iterable[Ranking]],
    rrf_k: int,
) -> Iterator[dict]:
    """One row per query with all that `rankings` (retriever: a ranking per query) hold, docids by fused rank.

    Source: Ruri, Section 3.1. With one retriever the rank is its own.
    """
    for query_id, *found in zip(query_ids, *rankings.values(), strict=True):
        orders = [[docid for docid, _ in ranking] for ranking in found if ranking]
        docids = orders[0] if len(orders) == 1 else [docid for docid, _ in reciprocal_rank_fusion(orders, rrf_k)]
        row = {"query_id": query_id, "source": source, "collection": collection, "docids": docids}
        by_name = dict(zip(rankings, found, strict=True))
        for name in RETRIEVERS["rrf"]:
            place = {docid: (rank, score) for rank, (docid, score) in enumerate(by_name.get(name, ()), start=1)}
            row[f"{name}_ranks"] = [place.get(docid, (0, 0.0))[0] for docid in docids]
            row[f"{name}_scores"] = [place.get(docid, (0, 0.0))[1] for docid in docids]
        yield row | {"positives": [], "positive_scores": []}


def add_dense_scores(
    rows: Iterable[dict],
    queries: np.ndarray,
    collection: Embeddings,
    known: Mapping[str, Sequence[str]],
    positives: Embeddings,
) -> Iterator[dict]:
    """The rows with the cosine of every candidate, found by dense search or not, and of every known positive.

    `queries` (q, d) stand in the order of the rows; `known` has the positives of each query_id, whose vectors are in
    `positives`, since a source's own passages need not be in the collection that is searched.
    """

    def of(documents: Embeddings) -> Score:
        return lambda numbers, wanted: _cosines(np.asarray(queries[numbers], dtype=np.float32), documents, wanted)

    return add_scores(rows, known, of(collection), of(positives))


def add_scores(
    rows: Iterable[dict], known: Mapping[str, Sequence[str]], of_candidates: Score, of_positives: Score
) -> Iterator[dict]:
    """The rows with the score of every candidate, found by the encoder or not, and of every known positive.

    `known` has the positives of each query_id.
    """
    stream = iter(rows)
    start = 0
    while block := list(islice(stream, _SCORED_AT_ONCE)):
        numbers = list(range(start, start + len(block)))
        start += len(block)
        unranked = [
            [docid for docid, rank in zip(row["docids"], row["dense_ranks"], strict=True) if not rank] for row in block
        ]
        sides = [known.get(row["query_id"], ()) for row in block]
        more = of_candidates(numbers, unranked)
        own = of_positives(numbers, sides)
        for row, scores, docids, positive_scores in zip(block, more, sides, own, strict=True):
            rest = iter(scores)
            ranked = zip(row["dense_ranks"], row["dense_scores"], strict=True)
            row["dense_scores"] = [score if rank else next(rest) for rank, score in ranked]
            yield row | {"positives": list(docids), "positive_scores": positive_scores}


def _cosines(queries: np.ndarray, documents: Embeddings, wanted: Sequence[Sequence[str]]) -> list[list[float]]:
    """Inner product of each query with the documents wanted for it, by their docids."""
    places = documents.places([docid for docids in wanted for docid in docids])
    found = []
    start = 0
    for query, docids in zip(queries, wanted, strict=True):
        rows = places[start : start + len(docids)]
        start += len(docids)
        found.append((np.asarray(documents.vectors[rows], dtype=np.float32) @ query).tolist() if docids else [])
    return found
