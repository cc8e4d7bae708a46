"""What the queries of one source find, by all of its retrievers.

Searches and encoders are imported inside the functions, so that listing the pipelines starts neither Java nor torch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from ruri_kedro.corpora.source import Source
from ruri_kedro.engines.engine import Engine
from ruri_kedro.mining.encoder import CachedEncoder, EmbeddedCollection
from ruri_kedro.mining.token_search import IndexedCollection, ScoreDocuments
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import Table
from ruri_kedro.tables.lookup import passage_texts

Queries = Mapping[str, str]  # text by query_id


@dataclass(frozen=True)
class SourceSearch:
    """A source, the tables it stands in, and what it is searched by; an engine may send it to another process."""

    source: Source
    passages: Table
    pairs: Table
    encoder: CachedEncoder
    collection: EmbeddedCollection | IndexedCollection | None  # None: no search by an encoder
    bm25_index: Path | None  # None: no BM25
    mining: Params
    bm25: Params

    def dependencies(self) -> Params:
        """What the rows depend on besides the texts."""
        dense: list | None = None
        if isinstance(self.collection, IndexedCollection):
            dense = [self.collection.encoder.key(), self.collection.encoder.settings]
        elif self.collection:
            dense = [
                self.encoder.key("query"),
                self.encoder.key("document"),
                self.collection.encoder.key("document"),
                self.mining["nearest"],
            ]
        return {
            "bm25": self.bm25 if self.bm25_index else None,
            "dense": dense,
            "depth": self.mining["depth"],
            "rrf_k": self.mining["rrf_k"],
        }

    def rows(self, queries: Queries) -> Iterator[dict]:
        """Rows of the table candidates."""
        from ruri_kedro.mining.candidates import add_dense_scores, candidate_rows, dense_rankings
        from ruri_kedro.search.dense.nearest import NearestSettings, search_nearest

        name, depth, found = self.source.name, self.mining["depth"], {}
        if self.bm25_index:
            found["bm25"] = bm25_rankings(self.bm25_index, queries, depth, self.bm25)
        fused = partial(candidate_rows, name, self.source.candidates, queries, found, self.mining["rrf_k"])
        if not self.collection:
            return fused()
        if isinstance(self.collection, IndexedCollection):
            found["dense"], score = self.collection.search(list(queries.values()), depth)
            return self._add_max_sim(fused(), queries, score)
        vectors = self.encoder.embed("query", f"encode queries of {name}", queries.items()).vectors
        collection = self.collection.embeddings
        nearest = parse(NearestSettings, self.mining["nearest"], "mining.supervised.nearest")
        hits = search_nearest(vectors, collection.vectors, self.collection.folder, depth, nearest, self.bm25["threads"])
        found["dense"] = dense_rankings(*hits, collection)
        known = self._known(queries)
        positives = self.encoder.embed("document", f"encode positives of {name}", self._texts(known).items())
        return add_dense_scores(fused(), vectors, collection, known, positives)

    def _add_max_sim(self, rows: Iterator[dict], queries: Queries, score: ScoreDocuments) -> Iterator[dict]:
        """The rows with MaxSim of every candidate and known positive: by the index, or of texts that are not in it.

        A candidate of BM25 that has no token vector scores 0.
        """
        from ruri_kedro.mining.candidates import add_scores

        known, asked = self._known(queries), list(queries.values())

        def of_candidates(numbers: Sequence[int], docids: Sequence[Sequence[str]]) -> list[list[float]]:
            return [[value or 0.0 for value in scores] for scores in score(numbers, docids)]

        def of_positives(numbers: Sequence[int], docids: Sequence[Sequence[str]]) -> list[list[float]]:
            found = score(numbers, docids)
            places = [
                (row, place) for row, scores in enumerate(found) for place, value in enumerate(scores) if value is None
            ]
            texts = passage_texts(self.passages, {docids[row][place] for row, place in places}, [self.source.name])
            pairs = [(asked[numbers[row]], texts[docids[row][place]]) for row, place in places]
            for (row, place), value in zip(places, self.collection.encoder.score(pairs), strict=True):
                found[row][place] = value
            return found

        return add_scores(rows, known, of_candidates, of_positives)

    def encode(self, shards: Callable[[], Iterator[Queries]], engine: Engine) -> None:
        """Put the queries of all shards and their positives into the cache, a block at a time.

        How a vector is rounded depends on the texts it is encoded with. If each shard encoded what the ones before
        have not, these would depend on the engine.
        """
        if isinstance(self.collection, EmbeddedCollection):
            queries = chain.from_iterable(some.items() for some in shards())
            self.encoder.fill("query", f"encode queries of {self.source.name}", queries, engine)
            texts = chain.from_iterable(self._texts(self._known(some)).items() for some in shards())
            self.encoder.fill("document", f"encode positives of {self.source.name}", texts, engine)

    def _known(self, queries: Queries) -> dict[str, list[str]]:
        """Docids of the positives of queries, by query_id."""
        from ruri_kedro.mining.examples import positives_by_query

        batches = self.pairs.select(self.source.name, "query_id", queries.keys(), ["query_id", "positive"])
        return positives_by_query(chain.from_iterable(batch.to_pylist() for batch in batches))

    def _texts(self, known: Mapping[str, list[str]]) -> dict[str, str]:
        """Text of each known positive by its docid."""
        return passage_texts(self.passages, set(chain.from_iterable(known.values())), [self.source.name])


def bm25_rankings(index: Path, queries: Queries, depth: int, bm25: Params) -> Iterable[list[tuple[str, float]]]:
    """What BM25 finds for each query."""
    from ruri_kedro.search.bm25.index import BM25Settings, search

    return search(index, list(queries.values()), depth, parse(BM25Settings, bm25, "bm25"))
