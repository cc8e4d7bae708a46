"""The examples of a stage before anything was searched: as many as there will be, with negatives drawn at random."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.recipe.stages import Stage, rows_of
from ruri_kedro.tables import SCHEMAS, Table, write_table

READ = ("passages", "pairs", "leaks", "matches")  # what the examples are made of
_OF_SEARCHES = ("window", "fill", "max_score_ratio")  # keys of a row that random negatives have not


def unmined_examples(stage: Stage, load: Callable[[str], Any], folder: Path) -> Table:
    """The examples of `stage` in `folder`. load: from the name of a data set to what it holds."""
    from ruri_kedro.pipelines.negative_mining.nodes import choose_examples

    sources = {name: _drawn(source, stage.name) for name, source in load("params:sources").items()}
    made = choose_examples(
        *(load(name) for name in READ),
        candidates=write_table(folder / "candidates", SCHEMAS["candidates"], {}),
        sources=sources,
        mining=load(f"params:mining.{stage.mining}"),
        seed=load("params:seed"),
        stage=stage.name,
    )
    return write_table(folder / "examples", SCHEMAS["examples"], made)


def _drawn(source: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    """A source of a recipe with random negatives in place of those that a search would find."""
    rows = [
        {key: value for key, value in row.items() if key not in _OF_SEARCHES}
        | ({} if row["negatives"] == "given" else {"negatives": "random"})
        for row in rows_of(source, stage)
    ]
    return {**source, "stages": {**(source.get("stages") or {}), stage: rows}} if rows else source
