"""The base model and its contrastive pre-training. Torch is imported inside the functions."""

from collections.abc import Iterator
from pathlib import Path

from ruri_kedro.benchmark.development import development_pairs
from ruri_kedro.benchmark.tasks.types import by_type
from ruri_kedro.corpora.source import own_prompts
from ruri_kedro.models.kinds import KINDS, by_kind
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.annotations import Embedder, Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.registry.runs.tracking import step_logger
from ruri_kedro.tables import Table
from ruri_kedro.tables.lookup import iter_texts
from ruri_kedro.training.stages import train_stage


@by_kind("build")
def make_base_model(passages: Table, base_model: Params, prompts: Params, seed: int) -> Embedder:
    """The model that `base_model` names, or a tiny one built from the corpus, as one of `base_model.kind`."""
    settings = parse(BaseModelSettings, base_model, "base_model")

    def texts() -> Iterator[str]:
        yield from (text for _, text in iter_texts(passages))

    return resolve(KINDS[settings.kind].build)(texts, settings, prompts, seed)


@by_type("collecting")
def pretrain(
    base_model: Path,
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
        "pretraining", base_model, examples, passages, settings, run, step_logger, prompts,
        source_prompts=own_prompts(sources), training_head=training_head,
        development=development_pairs(settings, "pretraining", development_sets),
    )  # fmt: skip
