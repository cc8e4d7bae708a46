"""The base model and its contrastive pre-training. Torch is imported inside the functions."""

from collections.abc import Iterator
from pathlib import Path

from ruri_kedro.corpora.source import own_prompts
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.recipe.annotations import Embedder, Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.registry.runs.tracking import step_logger
from ruri_kedro.tables import Table
from ruri_kedro.tables.lookup import iter_texts
from ruri_kedro.training.stages import train_stage


def make_base_model(passages: Table, base_model: Params, prompts: Params, seed: int) -> Embedder:
    """The encoder that `base_model` names, or a tiny one built from the corpus; its vectors have length 1."""
    from ruri_kedro.models.base import build_encoder, load_base, with_unit_vectors
    from ruri_kedro.models.layers import keep_layers
    from ruri_kedro.models.vocabulary import cut_vocabulary

    def texts() -> Iterator[str]:
        yield from (text for _, text in iter_texts(passages))
        yield from prompts.values()

    settings = parse(BaseModelSettings, base_model, "base_model")
    if settings.name is None and settings.package is None:
        return with_unit_vectors(build_encoder(texts(), settings.tiny, prompts, seed, settings.pooling))
    model = load_base(settings, prompts)
    if settings.layers is not None:
        keep_layers(model, settings.layers, "base_model.layers")
    if settings.vocabulary is not None:
        cut_vocabulary(model, texts())
    return with_unit_vectors(model)


def pretrain(
    base_model: Path,
    examples: Table,
    passages: Table,
    settings: Params,
    prompts: Params,
    run: Params,
    sources: Params,
    training_head: str | None,
) -> Embedder:
    """Contrastive pre-training on all sources (Ruri, Section 2)."""
    return train_stage(
        "pretraining", base_model, examples, passages, settings, run, step_logger, prompts,
        source_prompts=own_prompts(sources), training_head=training_head,
    )  # fmt: skip
