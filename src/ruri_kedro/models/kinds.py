"""The kinds of model, one row each. A new kind is a row here and the functions that it names.

What a kind can do lies in rooms above this one: it is named by address and imported when it is used, so that the table
is read without torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.stages import BASE_KIND, registered_models
from ruri_kedro.tables.files import read_json

_CONFIG = "config_sentence_transformers.json"  # that every class of sentence-transformers saves


@dataclass(frozen=True)
class Kind:
    """What is done with a model of a kind. Functions are `package.module:name`."""

    name: str
    word: str  # in evidence, rules of promotion and results; the word of version 0.1
    model_class: str  # the class that opens its folder
    # Base model.
    build: str | None  # (texts of the corpus, BaseModelSettings, prompts, seed) -> the model; None: it is no base model
    # Training.
    start: str  # (folder, prompts, max_length, seed) -> the model that a stage begins with
    train: str  # (model, *, examples, passages, stage, on_step and those of `trains_with`) -> the same model
    trains_with: tuple[str, ...]  # of prompts, source_prompts, teacher, training_head and development
    mixes_sources: bool  # whether its batches do, whatever the parameter `homogeneous` says
    finish: str | None  # (model) -> the model as it is saved; None: as it is
    # Evaluation.
    evaluate: str  # (name, data set) -> nodes that make runs_<name>, with what it finds, and scores_<name>
    asked: str  # (name, load, prompts, evaluation) -> the model as the benchmark asks it, scoring.models.Model
    onnx_output: str  # the tensor that its transformer gives
    # Registration.
    register: str  # (folder, name, metrics, evidence) -> number of the new version
    served: str  # (model) -> a scoring.models.Model: asked by its own methods, as those do who download it
    card: str  # a registry.card_texts.CardText
    folder: str  # pattern of the model's folder in a registered version
    flavors: str  # the keys of MLmodel that registration writes, with checks of their values
    code: str | None = None  # file of code beside the model
    code_digests: str | None = None  # SHA-256 of every content that it has had
    # The service.
    inference: str | None = None  # (SavedModel, ServiceSettings) -> what it does there; None: it is not served

    @property
    def saved_as(self) -> str:
        """What sentence-transformers calls the class in the folder of a model."""
        return self.model_class.rpartition(":")[2]


_ROWS = (
    Kind(
        name="embedder",
        word="embedder",
        model_class="sentence_transformers:SentenceTransformer",
        build="ruri_kedro.models.building:build_embedder",
        start="ruri_kedro.models.starting:start_embedder",
        train="ruri_kedro.training.run:train_embedder",
        trains_with=("prompts", "source_prompts", "teacher", "training_head", "development"),
        mixes_sources=False,
        finish="ruri_kedro.models.base:with_unit_vectors",
        evaluate="ruri_kedro.pipelines.evaluation.pipeline:base_kind_nodes",
        asked="ruri_kedro.benchmark.scoring.asking:embedder",
        onnx_output="last_hidden_state",
        register="ruri_kedro.registry.versions.models:register_embedder",
        served="ruri_kedro.benchmark.scoring.asking:served_embedder",
        card="ruri_kedro.registry.evidence.card_texts:EMBEDDER",
        folder="model.sentence_transformer",
        flavors="ruri_kedro.registry.versions.stored:EMBEDDER_FLAVORS",
        inference="ruri_kedro.service.inference:Embedder",
    ),
    Kind(
        name="cross_encoder",
        word="reranker",
        model_class="sentence_transformers:CrossEncoder",
        build=None,
        start="ruri_kedro.models.starting:start_cross_encoder",
        train="ruri_kedro.training.run:train_reranker",
        trains_with=(),
        mixes_sources=True,
        finish=None,
        evaluate="ruri_kedro.pipelines.evaluation.pipeline:cross_encoder_nodes",
        asked="ruri_kedro.benchmark.scoring.asking:cross_encoder",
        onnx_output="logits",
        register="ruri_kedro.registry.versions.models:register_reranker",
        served="ruri_kedro.benchmark.scoring.asking:served_cross_encoder",
        card="ruri_kedro.registry.evidence.card_texts:CROSS_ENCODER",
        folder="artifacts/*",
        flavors="ruri_kedro.registry.versions.stored:RERANKER_FLAVORS",
        code="reranker_model.py",
        code_digests="ruri_kedro.registry.versions.stored:RERANKER_CODES",
        inference="ruri_kedro.service.inference:PairScorer",
    ),
    Kind(
        name="multi_vector",
        word="multi_vector",
        model_class="sentence_transformers:MultiVectorEncoder",
        build="ruri_kedro.models.multi_vector:build_multi_vector",
        start="ruri_kedro.models.multi_vector:start_multi_vector",
        train="ruri_kedro.training.multi_vector:train_multi_vector",
        trains_with=("prompts", "source_prompts", "teacher"),
        mixes_sources=False,
        finish=None,
        evaluate="ruri_kedro.pipelines.evaluation.pipeline:base_kind_nodes",
        asked="ruri_kedro.benchmark.scoring.asking:multi_vector",
        onnx_output="last_hidden_state",
        register="ruri_kedro.registry.versions.models:register_multi_vector",
        served="ruri_kedro.benchmark.scoring.asking:served_multi_vector",
        card="ruri_kedro.registry.evidence.card_texts:MULTI_VECTOR",
        folder="artifacts/*",
        flavors="ruri_kedro.registry.versions.stored:MULTI_VECTOR_FLAVORS",
        code="multi_vector_model.py",
        code_digests="ruri_kedro.registry.versions.stored:MULTI_VECTOR_CODES",
        inference="ruri_kedro.service.inference:TokenEmbedder",
    ),
)
KINDS: dict[str, Kind] = {row.name: row for row in _ROWS}


def base_kinds() -> tuple[Kind, ...]:
    """The kinds that a base model can be of; a recipe chooses one with `base_model.kind`."""
    return tuple(kind for kind in KINDS.values() if kind.build)


def kinds_of(name: str) -> tuple[Kind, ...]:
    """The kinds that a model of a stage can be of: the one that the table of stages names, for BASE_KIND any of these.

    The shape of a pipeline depends on no recipe: all that a base model can be are evaluated by the same nodes.
    """
    return base_kinds() if name == BASE_KIND else (KINDS[name],)


def kind_in(folder: Path, name: str) -> Kind:
    """Which of `kinds_of(name)` the model in a folder is of; the first of them where the folder does not say."""
    kinds, found = kinds_of(name), saved_kind(folder)
    return found if found in kinds else kinds[0]


def kind_called(word: str) -> Kind:
    """The kind by its name, or by its word in evidence and rules. Raises RecipeError for neither."""
    for kind in KINDS.values():
        if word in (kind.name, kind.word):
            return kind
    raise RecipeError(f"'{word}' is not a kind of model. There are: {', '.join(words())}.")


def words() -> tuple[str, ...]:
    """The kinds as evidence and rules call them."""
    return tuple(kind.word for kind in KINDS.values())


def registered_words() -> tuple[str, ...]:
    """The kinds of the models that recipes register, as evidence and rules call them."""
    return tuple(dict.fromkeys(kind.word for stage in registered_models().values() for kind in kinds_of(stage.kind)))


def saved_kind(folder: Path) -> Kind | None:
    """The kind of the model in a folder that sentence-transformers saved; None where its class is of no kind."""
    path = folder / _CONFIG
    saved = read_json(path).get("model_type") if path.is_file() else None
    # As sentence-transformers has it: older models do not name their class.
    name = saved or "SentenceTransformer"
    return next((kind for kind in KINDS.values() if kind.saved_as == name), None)


def stored_kinds(part: PurePath) -> tuple[Kind, ...]:
    """The kinds that a model in this folder of a registered version can be of."""
    return tuple(kind for kind in KINDS.values() if part.match(kind.folder))


def by_kind(fields: str) -> Callable[[Callable], Callable]:
    """Marks a function that calls what these fields of a base model's kind name, so that it counts as its work."""

    def mark(work: Callable) -> Callable:
        work.by_kind = fields.split()
        return work

    return mark


def work_by_kind(work: Callable) -> tuple[str, ...]:
    """What a function calls of every kind of base model, as dotted names for digests of code."""
    fields = getattr(work, "by_kind", ())
    return tuple(getattr(kind, field).replace(":", ".") for kind in base_kinds() for field in fields)


def model_class(kind: Kind) -> Any:
    """The class that opens the folder of a model of a kind."""
    return resolve(kind.model_class)
