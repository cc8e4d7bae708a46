"""The blocks of parameters that name a model, and those of forward passes. No torch is imported here."""

from typing import Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, Positive, ShareBelow, parameters

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]  # of forward passes


@parameters
class ModelName:
    """A model by name: a folder, or a hub name with its commit; without a name the recipe's own.

    `ref` is the branch, or `refs/pr/<number>`, whose commit `kedro ruri pin` takes; None: main.
    """

    name: str | None
    revision: str | None
    ref: str | None = None


@parameters
class TinySettings:
    """Size of the encoder built when a recipe names none; parameters `base_model.tiny`. Lengths in tokens."""

    vocab_size: Count
    max_piece_chars: Count
    hidden_size: Count
    intermediate_size: Count
    layers: Count
    heads: Count
    max_length: Count
    dropout: ShareBelow
    initializer_range: Positive  # standard deviation of the random weights

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads:
            raise RecipeError(f"heads={self.heads} do not divide hidden_size={self.hidden_size}.")


@parameters
class BaseModelSettings:
    """Where training starts; parameters `base_model`."""

    name: str | None  # None: a tiny one is built
    revision: str | None
    pooling: Literal["mean", "cls"] | None  # None: what the checkpoint says; mean where it says nothing
    training_head: Literal["mlp"] | None  # behind the pooling, in trainings of bi-encoders only
    tiny: TinySettings
    ref: str | None = None  # as in ModelName


@parameters
class EncodingSettings:
    """How collections and queries are encoded outside training; parameters `encoding`. Lengths in tokens."""

    max_length: Count
    chunk_tokens: Count  # padded tokens of one forward pass
    precision: Precision
    device: Device
