"""The base model of a recipe, and the model that a stage begins with, of each kind."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from sentence_transformers import CrossEncoder, SentenceTransformer

from ruri_kedro.models.base import (
    build_cross_encoder,
    build_encoder,
    load_base,
    load_cross_encoder,
    load_encoder,
    with_unit_vectors,
)
from ruri_kedro.models.kinds import model_class, saved_kind
from ruri_kedro.models.layers import keep_layers
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.models.vocabulary import cut_vocabulary


def build_embedder(
    texts: Callable[[], Iterable[str]], settings: BaseModelSettings, prompts: Mapping[str, str], seed: int
) -> SentenceTransformer:
    """`base_encoder`, with vectors of length 1."""
    return with_unit_vectors(base_encoder(texts, settings, prompts, seed))


def base_encoder(
    texts: Callable[[], Iterable[str]], settings: BaseModelSettings, prompts: Mapping[str, str], seed: int
) -> SentenceTransformer:
    """The encoder that `base_model` names, or a tiny one built from the texts of the corpus and the prompts."""

    def read() -> Iterator[str]:
        return chain(texts(), prompts.values())

    if settings.is_built:
        return build_encoder(read(), settings.tiny, prompts, seed, settings.pooling)
    model = load_base(settings, prompts)
    if settings.layers is not None:
        keep_layers(model, settings.layers, "base_model.layers")
    if settings.vocabulary is not None:
        cut_vocabulary(model, read())
    return model


def start_embedder(folder: Path, prompts: Mapping[str, str], max_length: int, seed: int) -> SentenceTransformer:
    """The embedder in the folder, with the recipe's prompts."""
    return load_encoder(folder, prompts)


def start_cross_encoder(folder: Path, prompts: Mapping[str, str], max_length: int, seed: int) -> CrossEncoder:
    """The cross-encoder in the folder, or one with a new head on the embedder in it; `max_length` in tokens."""
    kind = saved_kind(folder)
    if kind is not None and model_class(kind) is CrossEncoder:
        return load_cross_encoder(folder, max_length)
    return build_cross_encoder(folder, max_length, seed)
