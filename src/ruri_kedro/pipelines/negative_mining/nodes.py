"""From candidates to mined positives and to the examples of every stage."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ruri_kedro.benchmark.leaks.contamination import find_leaks, texts_to_avoid
from ruri_kedro.corpora.source import Source, parse_sources
from ruri_kedro.mining.candidates import Candidates
from ruri_kedro.mining.drawing import choice_rules, stage_recipes
from ruri_kedro.mining.examples import TRAIN, StageRecipe, make_examples, mine_pairs
from ruri_kedro.mining.known import KnownPairs, found_candidates
from ruri_kedro.recipe.annotations import Frame, Params
from ruri_kedro.tables import SCHEMAS, ShardedPart, Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.ids import Ids, distinct_ids
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.tables.store import blocks, key_of, read_shards, to_table

logger = logging.getLogger(__name__)


def mine_positives(
    passages: Table,
    pairs: Table,
    leaks: Table,
    matches: Table,
    candidates: Table,
    sources: Params,
    mining: Params,
    seed: int,
) -> dict[str, ShardedPart]:
    """Pairs whose positive was found by its answer, a part per source with candidates."""
    rules = choice_rules(mining)

    def asked_and_answered(source: Source) -> Iterator[dict]:
        """What the tests have of queries and their positives: both in one new pair are a leak, short ones too."""
        rows = matches.iter_rows(matched(source))
        return (match for match in rows if match["role"] in ("query", "positive"))

    def matched(source: Source) -> list[str]:
        return sorted({source.name, source.candidates} & set(matches.parts()))

    def part(source: Source) -> ShardedPart:
        # What the pairs are mined from, read when a shard is missing.
        known = partial(_known, source, passages, (pairs,), leaks, matches, candidates, mining)

        def shards(done: Sequence[Path]) -> Iterator[pa.Table]:
            for some in known().unanswered(len(done)):
                mined = list(mine_pairs(some, rules, seed))
                leaked = {leak["pair_id"] for leak in find_leaks(mined, asked_and_answered(source)) if leak["removed"]}
                yield to_table((row for row in mined if row["pair_id"] not in leaked), SCHEMAS["pairs"])

        # All that the shards depend on.
        tables = [table.digest([source.name]) for table in (pairs, leaks, candidates)]
        key = key_of(
            tables=tables,
            passages=passages.digest([source.candidates]),
            avoided=sorted(_avoided(source, matches)),
            matches=matches.digest(matched(source)),
            mining=[mining[name] for name in ("depth", "mine_window", "max_mined", "min_answer_chars", "shard_rows")],
            seed=seed,
            code=behaviour_digest(mine_positives),
        )
        return ShardedPart(key, shards, lambda: known().count)

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
    inconsistent: Table | None = None,
    *,
    stage: str,
) -> dict[str, ShardedPart]:
    """Examples of one stage, a part per source that takes part in it.

    Pairs that a test knows are left out. Those that are not consistent give no example; their positives stay known.
    """
    pair_tables = (pairs, mined_pairs) if mined_pairs else (pairs,)

    def part(source: Source) -> ShardedPart:
        # What the examples are chosen from, read when a shard is missing.
        recipes = stage_recipes(source, stage, mining)
        strategies = {recipe.strategy for recipe in recipes}
        known = partial(
            _known, source, passages, pair_tables, leaks, matches, candidates, mining, strategies, inconsistent
        )

        # All that the shards depend on.
        tables = [table.digest([source.name]) for table in (pairs, leaks)]
        tables += [
            table.digest([source.name])
            for table in (candidates, mined_pairs, inconsistent)
            if table and source.name in table.parts()
        ]
        key = key_of(
            tables=tables,
            passages=passages.digest([source.candidates]),
            avoided=sorted(_avoided(source, matches)),
            depth=mining["depth"],
            shard_rows=mining["shard_rows"],
            recipes=[asdict(recipe) for recipe in recipes],
            seed=seed,
            code=behaviour_digest(choose_examples),
        )
        shards = partial(_example_shards, known, recipes, seed)
        return ShardedPart(key, shards, lambda: known().count * len(recipes))

    return {name: part(source) for name, source in parse_sources(sources).items() if source.rows_of(stage)}


def _example_shards(
    known: Callable[[], KnownPairs], recipes: Sequence[StageRecipe], seed: int, done: Sequence[Path]
) -> Iterator[pa.Table]:
    """The examples of a source that are missing behind the shards that are `done`."""
    pairs = known()
    # Rows with a limit count the pairs that earlier shards have taken, those of a killed run among them.
    limited = any(recipe.max_rows is not None for recipe in recipes)
    taken = _pairs_taken(read_shards(done, ["split", "objective", "shuffled"]) if limited else ())
    trained: Counter[str] = Counter()
    for recipe, some in pairs.shards_by(recipes, len(done)):
        made = to_table(make_examples(some, recipe, seed, taken[recipe.objective]), SCHEMAS["examples"])
        taken.update(_pairs_taken(made.to_batches()))
        trained.update(_trained_objectives(made.to_batches()))
        yield made
    # An objective without an example is warned of, unless an earlier shard has one.
    untrained = [recipe for recipe in recipes if not trained[recipe.objective]]
    before = set(_trained_objectives(read_shards(done, ["split", "objective"]))) if untrained else set()
    for recipe in (recipe for recipe in untrained if recipe.objective not in before):
        _say_why_none(pairs, recipe)


def report_negatives(
    passages: Table,
    pairs: Table,
    matches: Table,
    candidates: Table,
    sources: Params,
    mining: Params,
    mined_pairs: Table | None = None,
    **examples: Table,
) -> tuple[Frame, str]:
    """Figures of the negatives of each source and stage, as a table and as a page with examples to read.

    `examples` are the tables of the stages, by the name of the stage.
    """
    import pandas as pd

    from ruri_kedro.mining.report import mining_page, report_source, rows_of

    # A report per source, stage and row of the source.
    reports = []
    for source in parse_sources(sources).values():
        mined = mined_pairs.rows(source.name) if mined_pairs and source.name in mined_pairs.parts() else 0
        texts = partial(passage_texts, passages, parts=sorted({source.name, source.candidates}))
        for stage, table in examples.items():
            for recipe, given in zip(stage_recipes(source, stage, mining), source.rows_of(stage), strict=True):
                rows = _with_candidates(source, table, matches, candidates, mining)
                if recipe.strategy == "given":
                    rows = _with_given(source, rows, pairs, mining)
                reports.append(report_source(source.name, recipe, rows, mined, texts, given.get("expected_rows")))
    for figures in (report.figures for report in reports if report.figures.left_out):
        logger.info(
            "%s, %s: %d given negatives are left out: they are a known positive, the anchor, a held-out passage, or a "
            "text once more.", figures.stage, figures.source, figures.left_out,
        )  # fmt: skip
    return pd.DataFrame(rows_of(reports)).convert_dtypes(), mining_page(f"Negatives: {', '.join(examples)}", reports)


def _trained_objectives(batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """The objective of each training example."""
    for batch in batches:
        yield from batch.column("objective").filter(pc.equal(batch.column("split"), TRAIN)).to_pylist()


def _pairs_taken(batches: Iterable[pa.RecordBatch]) -> Counter[str]:
    """Pairs of training by objective; a shuffled copy is of the same pair."""
    return Counter(
        row["objective"]
        for batch in batches
        for row in batch.select(["split", "objective", "shuffled"]).to_pylist()
        if row["split"] == TRAIN and not row["shuffled"]
    )


def _say_why_none(known: KnownPairs, recipe: StageRecipe) -> None:
    """A warning that a source gives a stage no example of training, with what became of its pairs."""
    lost = known.lost(recipe.share)
    why = "; ".join(f"{count:,} are {rule}" for rule, count in lost.most_common())
    logger.warning(
        "%s, %s (%s): no example to train on. Of %s pairs %s.", recipe.stage, known.source.name, recipe.objective,
        f"{lost.total():,}", why or "none is there",
    )  # fmt: skip


def _known(
    source: Source,
    passages: Table,
    pair_tables: tuple[Table, ...],
    leaks: Table,
    matches: Table,
    candidates: Table,
    mining: Params,
    strategies: Collection[str] = (),
    inconsistent: Table | None = None,
) -> KnownPairs:
    """The pairs of a source, without the pairs and candidates that a test knows."""
    return KnownPairs(
        source=source,
        passages=passages,
        pair_tables=pair_tables,
        leaked=frozenset(
            row["pair_id"] for row in leaks.iter_rows([source.name], ["pair_id", "removed"]) if row["removed"]
        ),
        inconsistent=_inconsistent(source, inconsistent),
        candidates=_searched(source, candidates),
        avoided=_avoided(source, matches),
        depth=mining["depth"],
        rows=mining["shard_rows"],
        drawn="random" in strategies,
        given="given" in strategies,
    )


def _with_candidates(
    source: Source, examples: Table, matches: Table, candidates: Table, mining: Params
) -> Iterator[tuple[dict, Candidates | None]]:
    """The examples of a source, each with what its query found."""
    avoided = _avoided(source, matches)
    for rows in blocks(examples.iter_rows([source.name]), mining["shard_rows"]):
        queries = {row["query_id"] for row in rows}
        found = found_candidates(_searched(source, candidates), source.name, queries, mining["depth"], avoided)
        yield from ((row, found.get(row["query_id"])) for row in rows)


def _with_given(
    source: Source, rows: Iterable[tuple[dict, Candidates | None]], pairs: Table, mining: Params
) -> Iterator[tuple[dict, Candidates | None]]:
    """The examples with the negatives that their pairs came with, as `given`."""
    for block in blocks(rows, mining["shard_rows"]):
        ids, columns = {row["pair_id"] for row, _ in block}, ["pair_id", "given_negatives"]
        batches = pairs.select(source.name, "pair_id", ids, columns)
        given = {row["pair_id"]: row["given_negatives"] for batch in batches for row in batch.to_pylist()}
        yield from ((row | {"given": given.get(row["pair_id"], [])}, found) for row, found in block)


def _inconsistent(source: Source, inconsistent: Table | None) -> Ids:
    """pair_ids of a source that the filter by consistency drops."""
    parts = [source.name] if inconsistent and source.name in inconsistent.parts() else []
    batches = inconsistent.batches(parts, ["pair_id"]) if parts else ()
    return distinct_ids(batch.column(0).to_pylist() for batch in batches)


def _searched(source: Source, candidates: Table) -> Table | None:
    """The candidates, unless they have none of the source."""
    return candidates if source.name in candidates.parts() else None


def _avoided(source: Source, matches: Table) -> frozenset[str]:
    """Candidates of a source that are texts of a test."""
    return frozenset(texts_to_avoid(matches.iter_rows([source.candidates])))
