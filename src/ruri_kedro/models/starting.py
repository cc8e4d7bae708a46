"""The model that a stage begins with, of each kind."""

from collections.abc import Mapping
from pathlib import Path

from sentence_transformers import CrossEncoder, SentenceTransformer

from ruri_kedro.models.base import build_cross_encoder, load_cross_encoder, load_encoder
from ruri_kedro.models.kinds import model_class, saved_kind


def start_embedder(folder: Path, prompts: Mapping[str, str], max_length: int, seed: int) -> SentenceTransformer:
    """The embedder in the folder, with the recipe's prompts."""
    return load_encoder(folder, prompts)


def start_cross_encoder(folder: Path, prompts: Mapping[str, str], max_length: int, seed: int) -> CrossEncoder:
    """The cross-encoder in the folder, or one with a new head on the embedder in it; `max_length` in tokens."""
    kind = saved_kind(folder)
    if kind is not None and model_class(kind) is CrossEncoder:
        return load_cross_encoder(folder, max_length)
    return build_cross_encoder(folder, max_length, seed)
