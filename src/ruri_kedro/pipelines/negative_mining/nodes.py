"""From candidates to mined positives and to the examples of every stage."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial

from ruri_kedro.benchmark.contamination import texts_to_avoid
from ruri_kedro.corpora.source import Source, parse_sources
from ruri_kedro.errors import RecipeError
from ruri_kedro.pipelines.negative_mining.searching import CODE
from ruri_kedro.pipelines.shared import Frame, Params
from ruri_kedro.retrieval.candidates import RETRIEVERS, Candidates
from ruri_kedro.retrieval.examples import SourcePairs, StageRecipe, make_examples, mine_pairs
from ruri_kedro.retrieval.negatives import ChoiceRules, Window
from ruri_kedro.tables import Part, Table
from ruri_kedro.tables.code import code_digest
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.tables.objectives import OBJECTIVES
from ruri_kedro.tables.store import blocks, key_of


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
        yield from mine_pairs(_known(source, passages, pairs, leaks, matches, candidates, mining), rules, seed)

    def part(source: Source) -> Part:
        tables = [table.digest([source.name]) for table in (pairs, leaks, candidates)]
        key = key_of(
            tables=tables,
            passages=passages.digest([source.candidates]),
            avoided=sorted(_avoided(source, matches)),
            mining=[mining[name] for name in ("depth", "mine_window", "max_mined", "min_answer_chars")],
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

    def rows(source: Source) -> Iterator[dict]:
        known = _known(source, passages, pairs, leaks, matches, candidates, mining, mined_pairs)
        for recipe in stage_recipes(source, stage, mining):
            yield from make_examples(known, recipe, seed)

    def part(source: Source) -> Part:
        tables = [table.digest([source.name]) for table in (pairs, leaks)]
        tables += [
            table.digest([source.name]) for table in (candidates, mined_pairs) if table and source.name in table.parts()
        ]
        key = key_of(
            tables=tables,
            passages=passages.digest([source.candidates]),
            avoided=sorted(_avoided(source, matches)),
            depth=mining["depth"],
            recipes=[asdict(recipe) for recipe in stage_recipes(source, stage, mining)],
            seed=seed,
            code=code_digest(*CODE),
        )
        return Part(key, lambda: blocks(rows(source)))

    return {name: part(source) for name, source in parse_sources(sources).items() if stage in source.stages}


def report_negatives(
    passages: Table,
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

    from ruri_kedro.retrieval.mining_report import mining_page, report_source, rows_of

    reports = []
    for source in parse_sources(sources).values():
        found = _candidates(source, matches, candidates, mining)
        mined = mined_pairs.rows(source.name) if mined_pairs and source.name in mined_pairs.parts() else 0
        texts = partial(passage_texts, passages, parts=sorted({source.name, source.candidates}))
        for stage, table in examples.items():
            for recipe in stage_recipes(source, stage, mining):
                rows = table.iter_rows([source.name])
                reports.append(report_source(source.name, recipe, rows, found, mined, texts))
    return pd.DataFrame(rows_of(reports)).convert_dtypes(), mining_page(f"Negatives: {', '.join(examples)}", reports)


def stage_recipes(source: Source, stage: str, mining: Params) -> list[StageRecipe]:
    """How a source takes part in a stage; raises RecipeError for a row without a meaning."""
    counts = mining["negatives"]
    rules = replace(_rules(mining), n=counts[stage] if isinstance(counts, Mapping) else counts)
    made = [StageRecipe.of(stage, row, OBJECTIVES[stage][0], rules) for row in source.rows_of(stage)]
    for recipe in made:
        if recipe.strategy in RETRIEVERS and recipe.rules.window.last > mining["depth"]:
            raise RecipeError(
                f"sources.{source.name}.stages.{stage}: the window ends at rank {recipe.rules.window.last}, but the "
                f"search at {mining['depth']}. Raise mining.*.depth."
            )
    return made


def _known(
    source: Source,
    passages: Table,
    pairs: Table,
    leaks: Table,
    matches: Table,
    candidates: Table,
    mining: Params,
    mined_pairs: Table | None = None,
) -> SourcePairs:
    """All that is known of a source's pairs, without the pairs and candidates that a test knows."""
    leaked = {row["pair_id"] for row in leaks.iter_rows([source.name], ["pair_id", "removed"]) if row["removed"]}
    rows = list(pairs.iter_rows([source.name]))
    if mined_pairs is not None and source.name in mined_pairs.parts():
        rows += mined_pairs.iter_rows([source.name])
    parts = {source.name, source.candidates} if source.name in candidates.parts() else {source.name}
    return SourcePairs(
        source=source.name,
        pairs=[row for row in rows if row["pair_id"] not in leaked],
        texts=passage_texts(passages, parts=sorted(parts)),
        candidates=_candidates(source, matches, candidates, mining),
    )


def _candidates(source: Source, matches: Table, candidates: Table, mining: Params) -> dict[str, Candidates]:
    """Candidates by query_id; none for a source that is not searched."""
    if source.name not in candidates.parts():
        return {}
    avoided = _avoided(source, matches)
    rows = candidates.iter_rows([source.name])
    return {row["query_id"]: Candidates.of(row, mining["depth"], avoided) for row in rows}


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
        max_score_ratio=mining.get("max_score_ratio"),
    )
