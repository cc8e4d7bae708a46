"""What the searches for negatives will cost, projected from some of the texts. Nothing of them is kept."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ruri_kedro.corpora.source import Source, parse_sources
from ruri_kedro.mining.encoder import CachedEncoder
from ruri_kedro.mining.searches import distinct_queries, searchable_documents, searched_collections, searching
from ruri_kedro.mining.token_search import TokenEncoder
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import Table
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.training.dry_run import Estimate

_INDEXED, _SEARCHED, _ENCODED = 10_000, 200, 64  # documents, queries and texts that are tried
_FEWER = 10  # the smaller of two indexes has one document of so many
_WARM = 2_000  # queries before the clock: Java takes ten times as long for its first ones
_VECTORS = 20_000  # that are compared
_PLACES = 8  # bytes of a token's vector in an index besides its residual

Rows = Sequence[tuple[str, str]]  # (id, text)


def search_estimates(
    passages: Table,
    pairs: Table,
    sources: Params,
    mining: Params,
    bm25: Params,
    encoder: Callable[[], CachedEncoder | TokenEncoder] | None,
    stages: Sequence[str],
    shared: bool,
) -> Iterator[Estimate]:
    """Indexing, encoding and searching for the negatives of `stages`, one estimate for each collection and source.

    encoder: gives what `encoder_of` does, None where no stage searches by vectors; shared: whether several devices or
    machines encode.
    """
    known = parse_sources(sources)
    wanted = searching(known, stages)
    for retriever, estimate in (("bm25", partial(_by_bm25, bm25)), ("dense", partial(_by_encoder, encoder, shared))):
        for name in searched_collections(wanted, retriever):
            count = passages.rows(name)
            documents = list(spread(searchable_documents(name, passages, pairs), count, _INDEXED))
            asking = [source for source, retrievers in wanted if source.candidates == name and retriever in retrievers]
            queries = {source.name: _queries(source, pairs, passages) for source in asking}
            yield from estimate(known[name], count, documents, asking, queries, mining)


def encoder_of(
    pretrained: Path, mining: Params, prompts: Params, encoding: Params, multi_vector: Params
) -> CachedEncoder | TokenEncoder:
    """The encoder that `mining.encoder` names, by default the pre-trained one."""
    late = TokenEncoder.of(pretrained, mining, encoding, multi_vector)
    return late or CachedEncoder.of(pretrained, mining, prompts, encoding)


def spread(rows: Iterable, total: int, wanted: int) -> Iterator:
    """About `wanted` of `total` rows, at even distances."""
    return islice(rows, 0, None, max(1, total // wanted))


def _queries(source: Source, pairs: Table, passages: Table) -> tuple[int, list[str]]:
    """How many queries a source has, and some of them."""
    count = sum(1 for _ in distinct_queries(source, pairs))
    rows = list(spread(distinct_queries(source, pairs), count, _SEARCHED))
    texts = passage_texts(passages, {row["anchor"] for row in rows}, [source.name])
    return count, [texts[row["anchor"]] for row in rows]


def _by_bm25(
    bm25: Params, collection: Source, count: int, documents: Rows, asking: Sequence[Source], queries: dict,
    mining: Params,
) -> Iterator[Estimate]:  # fmt: skip
    from ruri_kedro.search.bm25.index import BM25Settings, build_index, search

    def find(index: Path, some: list[str]) -> None:
        list(search(index, some, mining["depth"], settings))

    settings = parse(BM25Settings, bm25, "bm25")
    few = documents[::_FEWER]
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small", Path(folder) / "large"
        # The smaller one before the clock, since Java starts slowly.
        build_index(few, small, settings, "dry_run", None)
        seconds = _seconds(lambda: build_index(documents, large, settings, "dry_run", None))
        size = sum(path.stat().st_size for path in large.rglob("*"))
        grows = count / len(documents)
        yield Estimate(f"BM25 index of {collection.name}", f"{count:,} passages", seconds * grows, size * grows / 2**30)
        for source in asking:
            asked, some = queries[source.name]
            find(small, some * max(1, _WARM // len(some)))
            least, most = (min(_seconds(partial(find, index, some)) for _ in range(3)) for index in (small, large))
            # What a query costs in any collection, and for each of its documents.
            slope = max(0.0, most - least) / max(1, len(documents) - len(few))
            seconds = most + slope * (count - len(documents))
            yield Estimate(f"BM25 search of {source.name}", f"{asked:,} queries", seconds * asked / len(some))


def _by_encoder(encoder: Callable[[], CachedEncoder | TokenEncoder], *rest: Any) -> Iterator[Estimate]:
    made = encoder()
    return (_by_token_vectors if isinstance(made, TokenEncoder) else _by_vectors)(made, *rest)


def _by_token_vectors(
    encoder: TokenEncoder, shared: bool, collection: Source, count: int, documents: Rows, asking: Sequence[Source],
    queries: dict, mining: Params,
) -> Iterator[Estimate]:  # fmt: skip
    """Encoding and the size of the index; its building and searches take little beside them."""
    texts = [text for _, text in spread(documents, len(documents), _ENCODED)]
    retriever = encoder.retriever(Path())
    retriever.encode_document(texts[:8])
    started = perf_counter()
    vectors = retriever.encode_document(texts)
    each = (perf_counter() - started) / len(texts)
    tokens = sum(map(len, vectors)) / len(vectors)
    disk = count * tokens * (vectors[0].shape[1] * retriever.settings.bits / 8 + _PLACES) / 2**30
    yield Estimate(f"token vectors of {collection.name}", f"{count:,} passages", each * count, disk, shared)
    for source in asking:
        asked, some = queries[source.name]
        each = _seconds(lambda some=some: retriever.encode_query(some)) / len(some)
        yield Estimate(f"token vectors of {source.name}", f"{asked:,} queries", each * asked)


def _by_vectors(
    encoder: CachedEncoder, shared: bool, collection: Source, count: int, documents: Rows, asking: Sequence[Source],
    queries: dict, mining: Params,
) -> Iterator[Estimate]:  # fmt: skip
    texts = [text for _, text in spread(documents, len(documents), _ENCODED)]
    reads = encoder.of_source(collection).encode("document", None)
    reads(texts[:8])
    each = _seconds(lambda: reads(texts)) / len(texts)
    width = reads(texts[:1]).shape[1]
    disk = count * width * np.dtype(np.float16).itemsize / 2**30
    yield Estimate(f"vectors of {collection.name}", f"{count:,} passages", each * count, disk, shared)
    tried = np.random.default_rng(0).standard_normal((min(count, _VECTORS), width), np.float32)
    for source in asking:
        asked, some = queries[source.name]
        reads = encoder.of_source(source).encode("query", None)
        each = _seconds(lambda reads=reads, some=some: reads(some)) / len(some)
        disk = asked * width * np.dtype(np.float32).itemsize / 2**30
        yield Estimate(f"vectors of {source.name}", f"{asked:,} queries", each * asked, disk, shared)
        # Exact search, which an approximate index only shortens.
        compared = (
            _seconds(lambda some=some: np.argpartition(tried[: len(some)] @ tried.T, -1))
            / len(some)
            * count
            / len(tried)
        )
        yield Estimate(f"dense search of {source.name}", f"{asked:,} queries", compared * asked)


def _seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started
