"""What a model was trained on, and how much of it the tests know: the part of its evidence that tables give."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from ruri_kedro.benchmark.leaks.examples import example_leaks
from ruri_kedro.benchmark.leaks.matches import LeakRules
from ruri_kedro.benchmark.tasks.specs import RERANKING_SUFFIX
from ruri_kedro.benchmark.tasks.stored import stored_digest
from ruri_kedro.corpora.source import Source
from ruri_kedro.recipe.stages import stages_behind
from ruri_kedro.tables import Table
from ruri_kedro.tables.store import key_of


def training_sources(sources: Mapping[str, Source], pairs: Table, examples: Mapping[str, Table]) -> dict[str, dict]:
    """Each source that a stage trained on: where from, licence, origin, pairs, digest and examples by stage.

    `examples` by stage. A collection that negatives were drawn from is a source without examples.
    """
    counts = {stage: _by_source(table) for stage, table in examples.items()}
    used = [name for name in sources if any(name in by_source for by_source in counts.values())]
    wanted = dict.fromkeys([*used, *(sources[name].candidates for name in used)])
    known = set(pairs.parts())
    return {
        name: {
            "from": sorted(sources[name].data_sets),
            "licence": sources[name].licence,
            "origin": sources[name].origin,
            "pairs": pairs.rows(name) if name in known else 0,
            "digest": pairs.manifest(name)["digest"] if name in known else None,
            "examples": {stage: by_source[name] for stage, by_source in counts.items() if name in by_source},
        }
        for name in wanted
    }


def stage_tables(examples: Mapping[str, Table]) -> dict[str, dict]:
    """By stage the rows and digest of its table of examples, and the digest of each source's part of it."""
    return {
        stage: {
            "rows": table.rows(),
            "digest": table.digest(),
            "parts": {source: table.manifest(source)["digest"] for source in table.parts()},
        }
        for stage, table in examples.items()
    }


def contamination_report(
    leaks: Table, test_texts: Table, passages: Table, examples: Mapping[str, Table], rules: LeakRules
) -> dict[str, Any]:
    """By stage how many examples there are and how many leak (`example_leaks`); by source the pairs with leaks.

    Of pairs that were removed none should be left: the texts of the examples themselves are searched for those of the
    tests, not looked up in what was meant to be removed.
    """
    removed: dict[str, set[str]] = {}
    reported: dict[str, set[str]] = {}
    for source in leaks.parts():
        for row in leaks.iter_rows([source], ["pair_id", "removed"]):
            (removed if row["removed"] else reported).setdefault(source, set()).add(row["pair_id"])
    return {
        "tests": test_texts.parts(),
        "stages": example_leaks(passages, test_texts, examples, rules),
        "sources": {
            source: {"removed": len(removed.get(source, ())), "reported": len(reported.get(source, ()))}
            for source in leaks.parts()
        },
    }


def described_tests(
    tasks: Mapping[str, Mapping], test_sets: Path, scored: Sequence[str], candidates: Mapping[str, Any]
) -> dict[str, dict]:
    """Category of each scored task, and digest of its texts and judgments as they are stored in `test_sets`.

    Reordering candidates is a task of its own, to whose digest belongs how they were found (`candidates`).
    """
    described = {}
    for name in scored:
        if name in tasks:
            described[name] = {"category": tasks[name]["type"], "digest": stored_digest(test_sets, name)}
        else:
            found = key_of(task=stored_digest(test_sets, name.removesuffix(RERANKING_SUFFIX)), candidates=candidates)
            described[name] = {"category": "reranking", "digest": found}
    return described


def of_kind(report: Mapping[str, Any], model: str, key: str = "stages") -> dict[str, Any]:
    """A report whose block `key` has only the stages behind a model, by its name in the catalog."""
    return {**report, key: {stage: row for stage, row in report[key].items() if stage in stages_behind(model)}}


def training_of_kind(training: Mapping[str, Any], model: str) -> dict[str, Any]:
    """What a model of the catalog was trained on and with: its stages' tables and runs, its sources, its base model.

    Commit and versions of the data are those of the runs that trained it, the last one's before the others'.
    """
    trained = training["trained"][model]
    base = trained.get("base_model", {}).get("settings", {})
    stages = {stage: trained[stage] for stage in stages_behind(model) if stage in trained}
    versions = {key: value for run in stages.values() for key, value in run.items() if key.startswith("dvc.")}
    if commit := stages.get(stages_behind(model)[-1], {}).get("git_commit"):
        versions["git_commit"] = commit
    own = {"sources": sources_of_kind(training["sources"], model), "data": {**training["data"], **versions},
           "trained": stages, "base_model": base}  # fmt: skip
    return of_kind({**training, **own}, model, "tables")


def sources_of_kind(sources: Mapping[str, Mapping], model: str) -> dict[str, dict]:
    """The sources of the stages behind a model of the catalog, and the collections."""
    chosen = {}
    for name, row in sources.items():
        examples = {stage: count for stage, count in row["examples"].items() if stage in stages_behind(model)}
        if examples or not row["examples"]:
            chosen[name] = {**row, "examples": examples}
    return chosen


def _by_source(examples: Table) -> dict[str, int]:
    counts = {source: _training(examples, source) for source in examples.parts()}
    return {source: count for source, count in counts.items() if count}


def _training(examples: Table, source: str) -> int:
    splits = (batch.column("split") for batch in examples.batches([source], ["split"]))
    return sum(pc.sum(pc.equal(split, "train")).as_py() or 0 for split in splits)
