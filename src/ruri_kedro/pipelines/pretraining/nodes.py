"""Contrastive pre-training. Torch is imported inside the functions."""

from pathlib import Path

from ruri_kedro.benchmark.development import development_pairs
from ruri_kedro.benchmark.tasks.types import by_type
from ruri_kedro.corpora.source import own_prompts
from ruri_kedro.recipe.annotations import Embedder, Params
from ruri_kedro.registry.runs.tracking import step_logger
from ruri_kedro.tables import Table
from ruri_kedro.training.stages import train_stage


@by_type("collecting")
def pretrain(
    adapted_model: Path,
    examples: Table,
    passages: Table,
    settings: Params,
    prompts: Params,
    run: Params,
    sources: Params,
    training_head: str | None,
    development_sets: Path,
) -> Embedder:
    """Contrastive pre-training on all sources (Ruri, Section 2)."""
    return train_stage(
        "pretraining", adapted_model, examples, passages, settings, run, step_logger, prompts,
        source_prompts=own_prompts(sources), training_head=training_head,
        development=development_pairs(settings, "pretraining", development_sets),
    )  # fmt: skip
