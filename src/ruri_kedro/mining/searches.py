"""What every query of a source finds, by BM25 and by dense search.

Searches and encoders are imported inside the functions, so that listing the pipelines starts neither Java nor torch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from ruri_kedro.corpora.source import Source, parse_sources
from ruri_kedro.engines.engine import Engine, engine_of
from ruri_kedro.mining.candidates import RETRIEVERS
from ruri_kedro.mining.drawing import check_mining
from ruri_kedro.mining.encoder import CachedEncoder, EmbeddedCollection
from ruri_kedro.mining.source_search import Queries, SourceSearch, bm25_rankings
from ruri_kedro.mining.token_search import IndexedCollection, TokenEncoder
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import SCHEMAS, ShardedPart, Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.ids import among, distinct_ids
from ruri_kedro.tables.lookup import iter_texts, passage_texts
from ruri_kedro.tables.seen import Seen
from ruri_kedro.tables.store import blocks, key_of, to_table
from ruri_kedro.text.hashing import stable_id


def build_indexes(
    passages: Table, pairs: Table, sources: Params, mining: Params, bm25: Params, stages: Sequence[str]
) -> dict[str, Callable]:
    """A BM25 index per collection that a source of the given stages searches."""
    from ruri_kedro.search.bm25.index import BM25Settings, build_index

    settings, known = parse(BM25Settings, bm25, "bm25"), parse_sources(sources)
    check_mining(known.values(), stages, mining)

    def build(collection: str, folder: Path) -> None:
        key = key_of(
            documents=_digest(collection, passages, pairs), settings=bm25, code=behaviour_digest(build_indexes)
        )
        build_index(searchable_documents(collection, passages, pairs), folder, settings, key, passages.rows(collection))

    return {name: partial(build, name) for name in searched_collections(searching(known, stages), "bm25")}


def embed_collections(
    passages: Table,
    pairs: Table,
    pretrained_model: Path,
    sources: Params,
    mining: Params,
    bm25: Params,
    prompts: Params,
    encoding: Params,
    engine: str = "local",
    multi_vector: Params | None = None,
    *,
    stages: Sequence[str],
) -> dict[str, Callable]:
    """Embeddings of each collection by the encoder that `mining.encoder` names, by default the pre-trained one.

    Of a late interaction model they are an index of token vectors, by the parameters `multi_vector`.
    """
    from ruri_kedro.search.dense.embeddings import build_embeddings
    from ruri_kedro.search.dense.nearest import NearestSettings, write_nearest_index

    # The encoder and the index that the recipe asks for.
    known = parse_sources(sources)
    check_mining(known.values(), stages, mining)
    encoder = CachedEncoder.of(pretrained_model, mining, prompts, encoding)
    collections = searched_collections(searching(known, stages), "dense")
    tokens = TokenEncoder.of(pretrained_model, mining, encoding, multi_vector) if collections else None
    nearest = parse(NearestSettings, mining["nearest"], "mining.supervised.nearest")
    index = partial(write_nearest_index, settings=nearest, threads=bm25["threads"])

    def build(collection: str, folder: Path) -> None:
        texts, digest = searchable_documents(collection, passages, pairs), _digest(collection, passages, pairs)
        code, most = behaviour_digest(embed_collections), passages.rows(collection)
        if tokens:
            tokens.build(texts, folder, key_of(documents=digest, code=code), engine_of(engine), most)
            return
        reader = encoder.of_source(known[collection])
        key = key_of(documents=digest, encoder=reader.key("document"), nearest=mining["nearest"], code=code)
        encode = reader.encode("document", f"encode {collection}")
        build_embeddings(texts, folder, key, reader.cache("document"), encode, index, engine_of(engine), most)

    return {name: partial(build, name) for name in collections}


def search_bm25(
    passages: Table,
    pairs: Table,
    indexes: Path,
    sources: Params,
    mining: Params,
    bm25: Params,
    engine: str = "local",
    *,
    stages: list[str],
) -> dict[str, ShardedPart]:
    """Candidates by BM25 alone, a part per source that wants them."""

    def rows(source: Source, queries: Queries) -> Iterator[dict]:
        from ruri_kedro.mining.candidates import candidate_rows

        found = {"bm25": bm25_rankings(indexes / source.candidates, queries, mining["depth"], bm25)}
        return candidate_rows(source.name, source.candidates, queries, found, 0)

    wanted = searching(parse_sources(sources), stages)
    dependencies = {"depth": mining["depth"], "bm25": bm25}
    return {
        source.name: _candidates_part(
            source, passages, pairs, mining, dependencies, partial(rows, source), engine_of(engine)
        )
        for source, _ in wanted
    }


def search(
    passages: Table,
    pairs: Table,
    indexes: Path,
    embeddings: Path,
    pretrained_model: Path,
    sources: Params,
    mining: Params,
    bm25: Params,
    prompts: Params,
    encoding: Params,
    engine: str = "local",
    multi_vector: Params | None = None,
    *,
    stages: Sequence[str],
) -> dict[str, ShardedPart]:
    """Candidates by the retrievers that a source's strategies read, fused by reciprocal rank, a part per source."""
    encoder = CachedEncoder.of(pretrained_model, mining, prompts, encoding)
    # The sources that search, and the collections that they search by vectors.
    known = parse_sources(sources)
    wanted = searching(known, stages)
    collections = searched_collections(wanted, "dense")
    tokens = TokenEncoder.of(pretrained_model, mining, encoding, multi_vector) if collections else None
    opened = {
        name: IndexedCollection(embeddings / name, tokens)
        if tokens
        else EmbeddedCollection(embeddings / name, encoder.of_source(known[name]))
        for name in collections
    }

    def part(source: Source, retrievers: set[str]) -> ShardedPart:
        collection = opened[source.candidates] if "dense" in retrievers else None
        bm25_index = indexes / source.candidates if "bm25" in retrievers else None
        found = SourceSearch(source, passages, pairs, encoder.of_source(source), collection, bm25_index, mining, bm25)
        return _candidates_part(
            source, passages, pairs, mining, found.dependencies(), found.rows, engine_of(engine), found.encode
        )

    return {source.name: part(source, retrievers) for source, retrievers in wanted}


def searching(sources: Mapping[str, Source], stages: Sequence[str]) -> list[tuple[Source, set[str]]]:
    """Sources whose negatives in one of the stages come from a search, with the retrievers that it takes."""
    found = []
    for source in sources.values():
        strategies = {row.get("negatives") for stage in stages for row in source.rows_of(stage)}
        retrievers = {name for strategy in strategies for name in RETRIEVERS.get(strategy, ())}
        if retrievers:
            found.append((source, retrievers))
    return found


def searched_collections(wanted: list[tuple[Source, set[str]]], retriever: str) -> list[str]:
    """The collections that are searched by a retriever, sorted."""
    return sorted({source.candidates for source, retrievers in wanted if retriever in retrievers})


def searchable_documents(collection: str, passages: Table, pairs: Table) -> Iterator[tuple[str, str]]:
    """(docid, text) of the passages of a source that a query may find: all but those that are anchors only."""
    parts = [collection] if collection in pairs.parts() else []
    sides = (
        distinct_ids(batch.column(0).to_pylist() for batch in pairs.batches(parts, [side]))
        for side in ("anchor", "positive")
    )
    only_anchors = np.setdiff1d(*sides, assume_unique=True)
    for rows in blocks(iter_texts(passages, [collection])):
        is_anchor = among([docid for docid, _ in rows], only_anchors)
        yield from (row for row, left_out in zip(rows, is_anchor, strict=True) if not left_out)


def _digest(collection: str, passages: Table, pairs: Table) -> list[str]:
    """Digests of what `searchable_documents` reads."""
    parts = [collection] if collection in pairs.parts() else []
    return [passages.digest([collection]), pairs.digest(parts)]


def _query_shards(source: Source, pairs: Table, passages: Table, size: int, skip: int) -> Iterator[Queries]:
    """The queries of a source, each once, in order of the pairs, without the first `skip` shards of `size`."""
    anchors = blocks(distinct_queries(source, pairs), size)
    for shard in islice(anchors, skip, None):
        texts = passage_texts(passages, {row["anchor"] for row in shard}, [source.name])
        yield {row["query_id"]: texts[row["anchor"]] for row in shard}


def distinct_queries(source: Source, pairs: Table) -> Iterator[dict]:
    """query_id and anchor of the first pair of each query."""
    seen = Seen()
    for rows in blocks(pairs.iter_rows([source.name], ["query_id", "anchor"])):
        is_new = seen.add([stable_id(row["query_id"]) for row in rows])
        yield from (row for row, new in zip(rows, is_new, strict=True) if new)


def _candidates_part(
    source: Source,
    passages: Table,
    pairs: Table,
    mining: Params,
    dependencies: Params,
    rows: Callable[[Queries], Iterator[dict]],
    engine: Engine,
    prepare: Callable[[Callable[[], Iterator[Queries]], Engine], None] = lambda shards, engine: None,
) -> ShardedPart:
    """What the queries of a source find, `mining.shard_rows` queries a shard; `prepare` sees the shards first."""
    size = mining["shard_rows"]
    key = key_of(
        pairs=pairs.digest([source.name]),
        passages=passages.digest([source.candidates]),
        code=behaviour_digest(_candidates_part, rows),
        shard_rows=size,
        **dependencies,
    )

    def shards(done: Sequence[Path]) -> Iterable[pa.Table]:
        missing = partial(_query_shards, source, pairs, passages, size, len(done))
        prepare(missing, engine)
        return engine(partial(_candidates, rows), missing())

    return ShardedPart(key, shards, lambda: -(-sum(1 for _ in distinct_queries(source, pairs)) // size))


def _candidates(rows: Callable[[Queries], Iterator[dict]], queries: Queries) -> pa.Table:
    return to_table(rows(queries), SCHEMAS["candidates"])
