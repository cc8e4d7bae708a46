"""The blocks of parameters of the trainings and of a run. No torch is imported here: they are read before a run."""

from collections.abc import Mapping
from typing import Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.pair_scores import SCORERS
from ruri_kedro.models.settings import ModelName, Precision
from ruri_kedro.recipe.parse import Count, NotNegative, Positive, Share, ShareAbove, Size, meant, parameters
from ruri_kedro.recipe.stages import kind_of_model


@parameters
class WatchSettings:
    """When a training is stopped; parameters `run.watch`."""

    window: Count  # latest losses of a source that the next is compared with
    min_losses: Count  # a source with fewer is not judged
    spike_deviations: Positive  # a loss is high if it is so many deviations above their median,
    spike_rise: float  # and at least so much above it
    spike_steps: Count  # high losses in a row are a spike
    collapse_similarity: float  # mean cosine between the embeddings of a batch
    collapse_steps: Count  # as similar for so many steps in a row, after warm-up, is a collapse


@parameters
class HeldOutSettings:
    """How often, and on how many examples, a training is measured; parameters `run.held_out`."""

    steps: Count  # between two measurements; the last step is measured, too
    rows: Count  # examples, at most

    def due(self, step: int, steps: int) -> bool:
        """Whether a training of so many steps is measured after this one."""
        return step % self.steps == 0 or step == steps


@parameters
class RunSettings:
    """What all trainings of a run share; parameters `run`."""

    seed: Size
    device: Literal["auto", "cpu", "cuda"]
    devices: Count | Literal["auto"]  # processes of a training, one for each device; auto: all CUDA devices
    threads: Count  # of torch
    checkpoints: str  # folder
    watch: WatchSettings
    held_out: HeldOutSettings | None  # None: nothing is measured
    allow_untrained: bool  # a source from which nothing is learnt is a warning, not an error


@parameters
class Averaging:
    """The model of a training is the mean of its last checkpoints; parameters `averaging` (arXiv 2407.20750)."""

    last: Count  # how many, that of the last step among them
    weights: tuple[Positive, ...] | None = None  # of them, the oldest first; None: all alike

    def __post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != self.last:
            raise RecipeError(f"weights: {list(self.weights)}; give one for each of the last {self.last}, or null.")


@parameters
class Merging:
    """What a stage hands on lies between the model that it trained and an older one; parameters `merging`."""

    method: Literal["slerp", "linear"]
    model: Literal["start", "base"]  # the older one: what the stage started from, or the base model
    weights: tuple[Share, ...]  # of the trained model; of several the one that is best on the held-out pairs
    weight_of: Mapping[str, Share]  # in place of it, by a regular expression of parameters' names

    def __post_init__(self) -> None:
        if not self.weights:
            raise RecipeError("weights: none is given. Give one, or several to choose from.")


@parameters
class RerankingSettings:
    """A training of a reranker, and what all trainings have (Ruri, Tables 14 and 15); lengths in tokens."""

    max_length: Count
    batch_size: Count
    epochs: Count
    learning_rate: Positive  # highest, of AdamW
    warmup_ratio: Share  # of the steps
    warmup_steps: Size | None  # in place of the ratio; None: by the ratio
    weight_decay: NotNegative
    max_grad_norm: Positive
    chunk_tokens: Count
    keep_tokens: Size
    precision: Literal["auto", "float32", "bfloat16"]  # gradients in float16 fall below its smallest number
    attention: str | None  # an implementation of transformers; None: the model's own
    compile: bool
    trained_layers: Count | None  # the last of the transformer; None: all, and what stands before them
    checkpoint_steps: Count  # between two checkpoints
    averaging: Averaging | None  # None: the model is that of the last step


@parameters
class DevelopmentSettings:
    """What a training is measured on as it goes on, and which weights are its result; parameters `development`."""

    task: str  # a name in the parameters `development`
    evaluations: Count  # at even distances, the last step among them; one more is made before the first step
    items: Count | None  # pairs, drawn by the seed of the run; None: all
    keep: Literal["best", "last"]  # weights of the best evaluation, the first of equal ones, or of the last step


@parameters
class SideLengths:
    """Tokens of an anchor, and of everything else, prompt included; parameters `max_length` of a bi-encoder's stage."""

    query: Count
    document: Count


@parameters
class PretrainingSettings(RerankingSettings):
    """A training of a bi-encoder; parameters `pretraining`."""

    max_length: Count | SideLengths
    temperature: Positive  # cosines are divided by it
    matryoshka_dims: tuple[Count, ...] | None  # None: the whole embedding only
    matryoshka_weights: tuple[NotNegative, ...] | None  # one for each of the dims; None: 1 each
    homogeneous: bool  # a batch holds one source
    shuffle_positives: bool  # order of their sentences
    freeze_position_embeddings: bool
    max_examples: Count | None  # seen in all steps together, in place of epochs; None: by epochs
    draw_one: bool  # each time that an anchor is seen, one of its positives and one of its negatives are drawn
    batch_by: Mapping[str, Literal["title"] | None]  # of a source: what the positives of its batches have in common
    development: DevelopmentSettings | None  # None: nothing is measured, and the result is the last step's

    def __post_init__(self) -> None:
        dims, weights = self.matryoshka_dims, self.matryoshka_weights
        if self.averaging is not None and self.development is not None and self.development.keep == "best":
            raise RecipeError("averaging: the mean of checkpoints and development.keep: best exclude each other.")
        if weights is not None and len(weights) != len(dims or ()):
            raise RecipeError(f"matryoshka_weights={list(weights)}: give one for each of matryoshka_dims, or null.")

    @property
    def lengths(self) -> tuple[int, int]:
        """Tokens of an anchor, and of everything else."""
        given = self.max_length
        return (given.query, given.document) if isinstance(given, SideLengths) else (given, given)


@parameters
class Teacher(ModelName):
    """The model whose scores are distilled; without a name the reranker of the recipe."""

    kind: str  # a name of SCORERS

    def __post_init__(self) -> None:
        if self.kind not in SCORERS:
            raise RecipeError(f"kind: {self.kind!r} is given. {meant(self.kind, SCORERS)}")
        own = kind_of_model("reranker")
        if self.name is None and self.kind != own:
            raise RecipeError(f"name: null, but the kind is {self.kind}, and the recipe's own teacher is a {own}.")


@parameters
class FinetuningSettings(PretrainingSettings):
    """A training of a bi-encoder with a teacher; parameters `finetuning`."""

    distillation_temperature: Positive  # of the objectives distillation and margin_mse
    teacher: Teacher
    teacher_max_length: Count  # of a cross-encoder
    teacher_precision: Precision
    threshold: Share | None  # on the sigmoid of the positive's score; None: by keep_share
    keep_share: Share  # of the distilled examples
    min_kept: Share  # an error if a smaller share of the distilled examples survives
    merging: Merging | None  # with an older model; None: the trained model is handed on


@parameters
class AdaptationSettings(RerankingSettings):
    """Masked language modelling before anything is compared; parameters `adaptation`."""

    mask_share: ShareAbove  # of the tokens, that are to be guessed
    max_word_pieces: Count  # a longer run of pieces is not taken for a word, whose pieces are masked together
    # All weights; those of the tokens alone; or of these the ones that `base_model.add_vocabulary` has added.
    train: Literal["all", "embeddings", "added"]

    def __post_init__(self) -> None:
        if self.trained_layers is not None and self.train != "all":
            raise RecipeError(f"train: {self.train}, but trained_layers: {self.trained_layers} trains no tokens.")
