"""What the training of a stage will cost, whatever the kind of its model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.models.kinds import kind_in
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.stages import Stage
from ruri_kedro.tables import Table
from ruri_kedro.training.dry_run import Cost, training_cost
from ruri_kedro.training.stages import stage_of


def stage_cost(
    row: Stage,
    base: Path,
    examples: Table,
    passages: Table,
    settings: Params,
    run: Params,
    prompts: Mapping[str, str],
    source_prompts: Mapping[str, Mapping[str, str]],
    training_head: str | None,
) -> Cost:
    """Cost of a stage's training on `examples`, by steps that are tried with the model in the folder `base`."""
    kind = kind_in(base, row.kind)
    given = {
        "prompts": prompts,
        "source_prompts": source_prompts,
        "teacher": _any_scores(examples) if row.teacher else None,
        "training_head": training_head,
        "development": None,  # which the steps that are tried do without
    }

    def probe(sample: Table, stage: Any, on_step: Callable) -> None:
        model = resolve(kind.start)(base, prompts, settings["max_length"], run["seed"])
        own = {argument: given[argument] for argument in kind.trains_with}
        resolve(kind.train)(model, examples=sample, passages=passages, stage=stage, on_step=on_step, **own)

    homogeneous = not kind.mixes_sources and settings["homogeneous"]
    return training_cost(examples, passages, row.objectives, stage_of(row.name, settings, run), homogeneous, probe)


def _any_scores(examples: Table) -> dict[tuple[str, str], float]:
    """Scores in place of a teacher's: which they are does not change the cost."""
    return {
        (row["query_id"], docid): float(rank)
        for row in examples.iter_rows()
        for rank, docid in enumerate((row["positive"], *row["negatives"]))
    }
