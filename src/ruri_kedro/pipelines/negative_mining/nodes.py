"""Candidates for every query, and from them negatives and mined positives.

The heavy rooms are imported inside the functions, so that listing the pipelines starts neither Java nor torch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.contamination import texts_to_avoid
from ruri_kedro.corpora.source import Source, parse_sources
from ruri_kedro.pipelines.shared import Params
from ruri_kedro.retrieval.examples import SEARCHED, SourcePairs, StageRecipe, make_examples, mine_pairs
from ruri_kedro.retrieval.negatives import ChoiceRules, Window
from ruri_kedro.tables import Part, Table
from ruri_kedro.tables.code import code_digest
from ruri_kedro.tables.lookup import iter_texts, passage_texts
from ruri_kedro.tables.objectives import OBJECTIVES
from ruri_kedro.tables.store import blocks, key_of

CODE = ("text", "retrieval")
SUPERVISED_STAGES = ("reranking_stage1", "reranking_stage2", "finetuning")


def build_indexes(
    passages: Table, pairs: Table, sources: Params, bm25: Params, stages: list[str]
) -> dict[str, Callable]:
    """A BM25 index per collection that a source of the given stages searches."""
    from ruri_kedro.retrieval.bm25 import BM25Settings, build_index

    settings = BM25Settings(**bm25)

    def build(collection: str, folder: Path) -> None:
        key = key_of(documents=_digest(collection, passages, pairs), settings=bm25, code=code_digest(*CODE))
        build_index(_documents(collection, passages, pairs), folder, settings, key)

    collections = {source.candidates for source in _searching(parse_sources(sources), stages)}
    return {name: partial(build, name) for name in sorted(collections)}


def embed_collections(
    passages: Table,
    pairs: Table,
    pretrained_model: Path,
    sources: Params,
    mining: Params,
    prompts: Params,
    encoding: Params,
) -> dict[str, Callable]:
    """Embeddings of each collection by the encoder that `mining.encoder` names, by default the pre-trained one."""
    from ruri_kedro.retrieval.embeddings import build_embeddings

    encode, digest = _encoder(pretrained_model, mining["encoder"], prompts, encoding)

    def build(collection: str, folder: Path) -> None:
        documents = _digest(collection, passages, pairs)
        key = key_of(documents=documents, model=digest, prompts=prompts, encoding=encoding)
        document = partial(encode, "document", f"encode {collection}")
        build_embeddings(_documents(collection, passages, pairs), folder, key, document)

    collections = {source.candidates for source in _searching(parse_sources(sources), SUPERVISED_STAGES)}
    return {name: partial(build, name) for name in sorted(collections)}


def search_bm25(
    passages: Table, pairs: Table, indexes: Path, sources: Params, mining: Params, bm25: Params, stages: list[str]
) -> dict[str, Part]:
    """Candidates by BM25 alone, a part per source that wants them."""

    def rows(source: Source) -> Iterator[dict]:
        from ruri_kedro.retrieval.candidates import candidate_rows

        queries = _queries(source, pairs, passages)
        found = _bm25(indexes, source, queries, mining["depth"], bm25)
        yield from candidate_rows(
            source.name, source.candidates, queries, found, None, mining["depth"], mining.get("rrf_k", 0)
        )

    dependencies = {"depth": mining["depth"], "bm25": bm25}
    wanted = _searching(parse_sources(sources), stages)
    return {source.name: _candidates_part(source, passages, pairs, dependencies, rows) for source in wanted}


def search_fused(
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
) -> dict[str, Part]:
    """Candidates by BM25 and dense search, fused by reciprocal rank (Ruri, Section 3.1), a part per source."""
    encode, digest = _encoder(pretrained_model, mining["encoder"], prompts, encoding)

    def rows(source: Source) -> Iterator[dict]:
        from ruri_kedro.retrieval.candidates import candidate_rows, dense_rankings
        from ruri_kedro.retrieval.embeddings import load_embeddings

        queries = _queries(source, pairs, passages)
        sparse = _bm25(indexes, source, queries, mining["depth"], bm25)
        vectors = encode("query", f"encode queries of {source.name}", list(queries.values()))
        collection = load_embeddings(embeddings / source.candidates)
        dense = dense_rankings(vectors, collection, mining["depth"], bm25["threads"])
        yield from candidate_rows(
            source.name, source.candidates, queries, sparse, dense, mining["depth"], mining["rrf_k"]
        )

    dependencies = {
        "depth": mining["depth"], "rrf_k": mining["rrf_k"], "bm25": bm25,
        "model": digest, "prompts": prompts, "encoding": encoding,
    }  # fmt: skip
    wanted = _searching(parse_sources(sources), SUPERVISED_STAGES)
    return {source.name: _candidates_part(source, passages, pairs, dependencies, rows) for source in wanted}


def mine_positives(
    passages: Table,
    pairs: Table,
    leaks: Table,
    matches: Table,
    candidates: Table,
    sources: Params,
    mining: Params,
    seed: int,
) -> dict[str, Part]:
    """Pairs whose positive was found by its answer, a part per source with candidates."""
    rules = _rules(mining)

    def rows(source: Source) -> Iterator[dict]:
        yield from mine_pairs(_known(source, passages, pairs, leaks, matches, candidates), rules, seed)

    def part(source: Source) -> Part:
        tables = [table.digest([source.name]) for table in (pairs, leaks, candidates)]
        key = key_of(
            tables=tables,
            passages=passages.digest([source.candidates]),
            avoided=sorted(_avoided(source, matches)),
            mining=asdict(rules),
            seed=seed,
            code=code_digest(*CODE),
        )
        return Part(key, lambda: blocks(rows(source)))

    return {name: part(source) for name, source in parse_sources(sources).items() if name in candidates.parts()}


def choose_examples(
    passages: Table,
    pairs: Table,
    leaks: Table,
    matches: Table,
    candidates: Table,
    sources: Params,
    mining: Params,
    seed: int,
    mined_pairs: Table | None = None,
    *,
    stage: str,
) -> dict[str, Part]:
    """Examples of one stage, a part per source that takes part in it; pairs that a test knows are left out."""
    rules = _rules(mining)
    count = mining["negatives"][stage] if isinstance(mining["negatives"], Mapping) else mining["negatives"]

    def recipes(source: Source) -> list[StageRecipe]:
        return [StageRecipe.of(stage, row, OBJECTIVES[stage][0], count) for row in source.rows_of(stage)]

    def rows(source: Source) -> Iterator[dict]:
        known = _known(source, passages, pairs, leaks, matches, candidates, mined_pairs)
        for recipe in recipes(source):
            yield from make_examples(known, recipe, rules, seed)

    def part(source: Source) -> Part:
        tables = [table.digest([source.name]) for table in (pairs, leaks)]
        tables += [
            table.digest([source.name]) for table in (candidates, mined_pairs) if table and source.name in table.parts()
        ]
        key = key_of(
            tables=tables,
            passages=passages.digest([source.candidates]),
            avoided=sorted(_avoided(source, matches)),
            mining=asdict(rules),
            recipes=[vars(recipe) for recipe in recipes(source)],
            seed=seed,
            code=code_digest(*CODE),
        )
        return Part(key, lambda: blocks(rows(source)))

    return {name: part(source) for name, source in parse_sources(sources).items() if stage in source.stages}


def _searching(sources: Mapping[str, Source], stages: list[str] | tuple[str, ...]) -> list[Source]:
    """Sources whose negatives in one of the stages come from a search."""
    return [
        source
        for source in sources.values()
        if any(row.get("negatives") in SEARCHED for stage in stages for row in source.rows_of(stage))
    ]


def _documents(collection: str, passages: Table, pairs: Table) -> Iterator[tuple[str, str]]:
    """(docid, text) of the passages of a source that a query may find: all but those that are anchors only."""
    sides = list(pairs.iter_rows([collection], ["anchor", "positive"])) if collection in pairs.parts() else []
    only_anchors = {row["anchor"] for row in sides} - {row["positive"] for row in sides}
    return ((docid, text) for docid, text in iter_texts(passages, [collection]) if docid not in only_anchors)


def _digest(collection: str, passages: Table, pairs: Table) -> list[str]:
    """Digests of what `_documents` reads."""
    parts = [collection] if collection in pairs.parts() else []
    return [passages.digest([collection]), pairs.digest(parts)]


def _queries(source: Source, pairs: Table, passages: Table) -> dict[str, str]:
    from ruri_kedro.retrieval.candidates import distinct_queries

    texts = passage_texts(passages, parts=[source.name])
    return distinct_queries(pairs.iter_rows([source.name], ["query_id", "anchor"]), texts)


def _bm25(indexes: Path, source: Source, queries: Mapping[str, str], depth: int, bm25: Params) -> Iterable:
    from ruri_kedro.retrieval.bm25 import BM25Settings, search

    return search(indexes / source.candidates, list(queries.values()), depth, BM25Settings(**bm25))


def _candidates_part(
    source: Source, passages: Table, pairs: Table, dependencies: Params, rows: Callable[[Source], Iterator[dict]]
) -> Part:
    key = key_of(
        pairs=pairs.digest([source.name]),
        passages=passages.digest([source.candidates]),
        code=code_digest(*CODE),
        **dependencies,
    )
    return Part(key, lambda: blocks(rows(source)))


def _known(
    source: Source,
    passages: Table,
    pairs: Table,
    leaks: Table,
    matches: Table,
    candidates: Table,
    mined_pairs: Table | None = None,
) -> SourcePairs:
    """All that is known of a source's pairs, without the pairs and candidates that a test knows."""
    leaked = {row["pair_id"] for row in leaks.iter_rows([source.name], ["pair_id", "removed"]) if row["removed"]}
    rows = list(pairs.iter_rows([source.name]))
    if mined_pairs is not None and source.name in mined_pairs.parts():
        rows += mined_pairs.iter_rows([source.name])
    searched = source.name in candidates.parts()
    found = candidates.iter_rows([source.name], ["query_id", "docids"]) if searched else ()
    avoided = _avoided(source, matches)
    parts = {source.name, source.candidates} if searched else {source.name}
    return SourcePairs(
        source=source.name,
        pairs=[row for row in rows if row["pair_id"] not in leaked],
        texts=passage_texts(passages, parts=sorted(parts)),
        candidates={row["query_id"]: [docid for docid in row["docids"] if docid not in avoided] for row in found},
    )


def _avoided(source: Source, matches: Table) -> set[str]:
    """Candidates of a source that are texts of a test."""
    return texts_to_avoid(matches.iter_rows([source.candidates]))


def _rules(mining: Params) -> ChoiceRules:
    mine = mining["mine_window"]
    return ChoiceRules(
        window=Window(**mining["window"]),
        n=0,
        fill=mining["fill"],
        mine_window=Window(**mine) if mine else None,
        max_mined=mining["max_mined"],
        min_answer_chars=mining["min_answer_chars"],
    )


def _encoder(pretrained: Path, reference: Params, prompts: Params, encoding: Params) -> tuple[Callable, str]:
    """encode(role, progress label, texts), which loads the model at its first use, and the model's digest."""
    from ruri_kedro.encoders.reference import EncoderReference

    model = EncoderReference.of(reference, pretrained)

    def encode(role: str, label: str, texts: list[str]) -> Any:
        return model.encode(texts, prompts[role], encoding["max_length"], encoding["chunk_tokens"], label)

    return encode, model.digest()
