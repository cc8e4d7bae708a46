"""One training from tables to weights: read the examples, plan the batches, fit."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer

from ruri_kedro.errors import RecipeError
from ruri_kedro.models import training_head as heads
from ruri_kedro.models.base import (
    check_length,
    device_kind,
    freeze_position_embeddings,
    load_cross_encoder,
    load_encoder,
)
from ruri_kedro.models.layers import train_last_layers
from ruri_kedro.models.speed import speed_up
from ruri_kedro.models.token_cache import TokenCache
from ruri_kedro.recipe.objectives import LABELLED, RERANKING, TAUGHT, UNTAUGHT
from ruri_kedro.tables import Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import write_json
from ruri_kedro.tables.store import key_of
from ruri_kedro.text.hashing import digest_all, digest_json, stable_id
from ruri_kedro.training import processes
from ruri_kedro.training.checkpoints import Checkpoints, sole_training
from ruri_kedro.training.data import TrainingSet
from ruri_kedro.training.development import Development, DevelopmentPairs, spearman_of
from ruri_kedro.training.dropout import check_dropout
from ruri_kedro.training.fit import FitSettings, OnStep, fit
from ruri_kedro.training.held_out import HeldOut, of_embedder, of_reranker
from ruri_kedro.training.objectives import Budget, LossSettings, embedding_backward, reranking_backward
from ruri_kedro.training.plan import Plan, stored_plan
from ruri_kedro.training.planning import DEVELOPMENT_FILE, STEPS_FILE, BatchSettings, Shares, with_shares
from ruri_kedro.training.reading import Reading, Scores, check_examples, read_examples, read_held_out, read_topics
from ruri_kedro.training.settings import HeldOutSettings, PretrainingSettings, RerankingSettings, WatchSettings
from ruri_kedro.training.teacher import scores_digest
from ruri_kedro.training.watch import Watch

log = logging.getLogger(__name__)

_KEPT_CHECKPOINTS = 2


# Parameters that may change between a killed run and its continuation: a training that ran out of memory goes on with
# smaller chunks. As with another number of devices, its weights are then the same but for rounding and dropout.
_OF_THE_MACHINE = ("checkpoint_steps", "chunk_tokens", "keep_tokens")
_NOT_OF_THE_STEPS = (*_OF_THE_MACHINE, "averaging")  # which is of what they leave


@dataclass(frozen=True)
class Stage:
    """A stage of training: its name, its parameters and where its checkpoints are."""

    name: str
    settings: RerankingSettings  # or, of a bi-encoder, PretrainingSettings
    seed: int
    device: str
    checkpoints: Path
    watch: WatchSettings
    devices: int | str = 1  # processes on this host, one for each device; auto: all CUDA devices
    held_out: HeldOutSettings | None = None  # None: nothing is measured
    allow_untrained: bool = False  # a source from which nothing is learnt is a warning, not an error

    def select(self, kind: type, **more: Any) -> Any:
        """The dataclass `kind` filled with the parameters of the same names that the stage has, and with `more`."""
        given = vars(self.settings) | {"seed": self.seed} | more
        return kind(**{field.name: given[field.name] for field in fields(kind) if field.name in given})

    @property
    def kept_checkpoints(self) -> int:
        """How many checkpoints there are at most, but for the one that is being written."""
        averaging = self.settings.averaging
        return max(_KEPT_CHECKPOINTS, averaging.last if averaging else 0)

    def batches(self, homogeneous: bool) -> BatchSettings:
        """How examples become batches."""
        return self.select(BatchSettings, homogeneous=homogeneous)

    def reading(
        self,
        objectives: tuple[str, ...],
        prompts: Mapping[str, str],
        source_prompts: Mapping[str, Mapping[str, str]],
        parts: Sequence[str],
    ) -> Reading:
        """How a model of texts reads the examples of the sources `parts`; prompts as of `train_embedder`."""
        return Reading(
            objectives=objectives,
            prompts=(prompts["query"], prompts["document"]),
            own_prompts={
                name: (own["query"], own["document"]) for name, own in source_prompts.items() if name in parts
            },
            lengths=self.settings.lengths,
            special=True,
            shuffled=self.settings.shuffle_positives,
        )

    def check(self) -> None:
        """Raises RecipeError for devices that are not here, before any work is done."""
        processes.wanted(self.device, self.devices)


def train_embedder(
    model: SentenceTransformer,
    examples: Table,
    passages: Table,
    prompts: Mapping[str, str],
    stage: Stage,
    on_step: OnStep,
    teacher: Scores | None = None,
    source_prompts: Mapping[str, Mapping[str, str]] | None = None,
    training_head: str | None = None,
    development: DevelopmentPairs | None = None,
) -> SentenceTransformer:
    """Train a bi-encoder in place on the training rows of `examples` and return it.

    prompts: by role, query and document; source_prompts: the same of each source that has its own; training_head:
    a name of HEADS, of a layer that the model has here only; development: what the stage's parameters `development` ask
    for, read with the prompt of queries.
    Raises RecipeError for a source whose objective is unknown or needs a `teacher` that is not there.
    """
    stage.check()
    if count := processes.wanted(stage.device, stage.devices):
        arguments = {"examples": examples, "passages": passages, "prompts": dict(prompts), "teacher": teacher,
                     "source_prompts": source_prompts, "training_head": training_head,
                     "development": development}  # fmt: skip
        in_processes(count, train_embedder, load_encoder, model, stage, on_step, arguments)
        return model
    losses = stage.select(LossSettings)
    losses.check(model.get_embedding_dimension(), stage.name)
    objectives = UNTAUGHT + RERANKING + LABELLED + (() if teacher is None else TAUGHT)
    reading = stage.reading(objectives, prompts, source_prompts or {}, examples.parts())
    with heads.training_head(model, training_head, stage.seed), sole_training(stage.checkpoints / stage.name):
        prepare(model, stage, max(stage.settings.lengths))
        work = Encoding(embedding_backward, of_embedder, development)
        train_texts(model, examples, passages, reading, stage, losses, on_step, teacher, work)
    return model


@dataclass(frozen=True)
class Encoding:
    """What is done with a model that encodes texts, one at a time."""

    backward: Callable  # (model, data, budget, losses) -> gradients of a batch
    measures: Callable  # (model, held-out data, chunk_tokens, precision) -> what is measured of it
    development: DevelopmentPairs | None = None  # what it is measured on, too


def train_texts(
    model: SentenceTransformer | MultiVectorEncoder,
    examples: Table,
    passages: Table,
    reading: Reading,
    stage: Stage,
    losses: LossSettings,
    on_step: OnStep,
    teacher: Scores | None,
    work: Encoding,
) -> None:
    """Train a model of texts in place, on its device and alone at the stage's checkpoints, which the caller sees to."""
    settings: PretrainingSettings = stage.settings
    if settings.freeze_position_embeddings:
        freeze_position_embeddings(model)
    budget = stage.select(Budget)
    data, held_out = _read(stage, model, examples, passages, reading, teacher)
    homogeneous = settings.homogeneous
    if not homogeneous and len(set(data.objectives)) > 1:
        raise RecipeError(f"{stage.name}.homogeneous: false, but the objectives are {sorted(set(data.objectives))}.")
    if settings.draw_one and (taught := sorted(set(data.objectives) & set(TAUGHT))):
        raise RecipeError(f"{stage.name}.draw_one: true, but {taught[0]} compares all negatives of an example.")
    check_dropout(model, data, stage.name)
    if "angle" in data.objectives:
        losses.check_halves(model.get_embedding_dimension(), stage.name)
    backward = work.backward(model, data, budget, losses)
    has_topics = any(settings.batch_by.values())
    made_by = stable_id(examples.digest(), passages.digest()) if has_topics else examples.digest()
    topics = partial(read_topics, examples, passages, settings.batch_by)
    plan, shares = plan_stage(data, stage, made_by, homogeneous, topics)
    if held_out:
        on_step = measured(on_step, work.measures(model, held_out, budget.chunk_tokens, budget.precision), stage, plan)
    made_of = {"examples": examples.digest(), "prompts": list(reading.prompts)}
    if reading.own_prompts:
        made_of["prompts of sources"] = {name: list(own) for name, own in sorted(reading.own_prompts.items())}
    if teacher is not None:
        made_of["teacher's scores"] = scores_digest(teacher)
    development = None
    if settings.development is not None:
        development = _development(model, work.development, stage, len(plan), reading.prompts[0], budget)
        made_of["development"] = digest_json([*vars(work.development).values()])
    fit_stage(model, plan, shares, backward, stage, data.example_ids, made_of, on_step, development)


def _development(
    model: SentenceTransformer,
    pairs: DevelopmentPairs,
    stage: Stage,
    steps: int,
    prompt: str,
    budget: Budget,
) -> Development:
    """The evaluations of a training of so many steps; of several processes the first one makes them."""
    settings, measure = stage.settings.development, None
    if processes.rank() == 0:
        drawn, length = pairs.drawn(settings.items, stage.seed), max(stage.settings.lengths)
        measure = spearman_of(model, drawn, prompt, length, budget.chunk_tokens, budget.precision)
    return Development(settings, steps, measure)


def train_reranker(
    model: CrossEncoder, examples: Table, passages: Table, stage: Stage, on_step: OnStep
) -> CrossEncoder:
    """Train a cross-encoder in place on the training rows of `examples` and return it; batches mix sources."""
    stage.check()
    if count := processes.wanted(stage.device, stage.devices):
        arguments = {"examples": examples, "passages": passages}
        in_processes(count, train_reranker, load_cross_encoder, model, stage, on_step, arguments)
        return model
    prepare(model, stage, stage.settings.max_length)
    with sole_training(stage.checkpoints / stage.name):
        _train_reranker(model, examples, passages, stage, on_step)
    return model


def _train_reranker(model: CrossEncoder, examples: Table, passages: Table, stage: Stage, on_step: OnStep) -> None:
    budget, length = stage.select(Budget), stage.settings.max_length
    data, held_out = _read(stage, model, examples, passages, Reading(RERANKING), None)
    backward = reranking_backward(model, data, budget, length)
    plan, shares = plan_stage(data, stage, examples.digest(), homogeneous=False)
    if held_out:
        measures = of_reranker(model, held_out, length, budget.chunk_tokens, budget.precision)
        on_step = measured(on_step, measures, stage, plan)
    fit_stage(model, plan, shares, backward, stage, data.example_ids, {"examples": examples.digest()}, on_step)


def prepare(model: SentenceTransformer | MultiVectorEncoder | CrossEncoder, stage: Stage, max_length: int) -> None:
    """Put a model on its device, as fast as the recipe has it; `max_length`: of its longest texts, in tokens."""
    check_length(model, max_length, f"{stage.name}.max_length")
    if stage.settings.trained_layers is not None:
        train_last_layers(model, stage.settings.trained_layers, f"{stage.name}.trained_layers")
    model.to(device_kind(stage.device))
    speed_up(model, stage.settings.attention, stage.settings.compile, stage.settings.precision, stage.name)


def in_processes(
    count: int,
    train: Callable,
    load: Callable,
    model: SentenceTransformer | MultiVectorEncoder | CrossEncoder,
    stage: Stage,
    on_step: OnStep,
    arguments: Mapping[str, Any],
) -> None:
    """Do the training `train` of a stage in so many processes; `load` opens the folder of a model."""
    part = partial(_on_device, train=train, stage=stage)
    processes.train_in_processes(model, load, part, arguments, count, stage.device, on_step, stage.name)


def _on_device(
    model: SentenceTransformer | CrossEncoder, *, train: Callable, stage: Stage, device: str, **arguments: Any
) -> None:
    """What one of several processes does: the training `train` on its own device."""
    train(model, stage=replace(stage, device=device), **arguments)


def _read(
    stage: Stage,
    model: SentenceTransformer | CrossEncoder,
    examples: Table,
    passages: Table,
    reading: Reading,
    teacher: Scores | None,
) -> tuple[TrainingSet, TrainingSet | None]:
    """The training set of a stage, beside its checkpoints, and held-out examples, which the first process measures.

    All stages of a recipe share their token ids.
    """
    check_examples(examples, stage.name, reading.objectives, stage.allow_untrained)
    cache = TokenCache(stage.checkpoints.with_name(".tokens"), model.tokenizer, processes.threads_of_host())
    folder = stage.checkpoints / stage.name / "examples"
    with processes.first_of_host():
        data = read_examples(examples, passages, stage.name, reading, cache, folder, teacher)
    if not stage.held_out or processes.rank() != 0:
        return data, None
    return data, read_held_out(examples, passages, reading, cache, stage.held_out.rows)


def measured(on_step: OnStep, measures: HeldOut, stage: Stage, plan: Plan) -> OnStep:
    """`on_step`, with what is measured on held-out examples where that is due."""
    settings = stage.held_out

    def report(step: int, metrics: Mapping[str, float]) -> None:
        on_step(step, {**metrics, **measures()} if settings.due(step, len(plan)) else metrics)

    return report


def plan_stage(
    data: TrainingSet,
    stage: Stage,
    examples: str,
    homogeneous: bool,
    topics: Callable[[], np.ndarray | None] = lambda: None,
) -> tuple[Plan, Shares]:
    """The plan of a stage, beside its checkpoints, and what each source has of it; raises if one has nothing.

    data: a TrainingSet, or other rows that have what a plan and its report read of one; examples: digest of them, and
    of what `topics` are made of, which gives those of `plan_batches` and is asked only where no plan is stored.
    """
    settings, folder = stage.batches(homogeneous), stage.checkpoints / stage.name
    key = key_of(
        examples=examples, **asdict(settings), objectives=data.objectives, code=behaviour_digest(BatchSettings)
    )
    with processes.first_of_host():
        plan = stored_plan(folder / "plan", key, lambda: settings.plan(data, topics()))
    shares = Shares.of(plan, data, settings)
    shares.check(stage.name, stage.allow_untrained)
    if processes.rank() == 0:
        names = [*data.group_names, "all sources"]  # group -1, where sources are mixed, is the last
        write_json(folder / "dropped.json", _dropped(plan, names, data.example_ids))
        write_json(folder / STEPS_FILE, shares.report())
    log.info(
        "%s: %d examples, %d steps over %s (by source: %s); in no batch: %s, listed in %s",
        stage.name, len(data), len(plan), settings.length, shares.steps_text(), shares.in_no_batch_text(),
        folder / "dropped.json",
    )  # fmt: skip
    if small := shares.small_batches_text():
        log.warning("%s: texts repeat, so there are batches smaller than batch_size: %s", stage.name, small)
    return plan, shares


def _dropped(plan: Plan, names: list[str], example_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The examples that are in no batch, by epoch and source, and why: a text twice, or too few for a last batch."""
    listed = []
    for epoch, group in np.unique(plan.dropped[["epoch", "group"]]).tolist():
        rows = plan.dropped[(plan.dropped["epoch"] == epoch) & (plan.dropped["group"] == group)]
        incomplete, repeating = ([example_ids[row] for row in rows["row"][rows["repeats"] == why]] for why in (0, 1))
        listed.append(
            {"epoch": epoch, "source": names[group], "incomplete_batch": incomplete, "repeating_a_text": repeating}
        )
    return listed


def fit_stage(
    model: torch.nn.Module,
    plan: Plan,
    shares: Shares,
    backward: Callable,
    stage: Stage,
    example_ids: Sequence[str],
    made_of: Mapping[str, Any],
    on_step: OnStep,
    development: Development | None = None,
) -> None:
    """Train a model in place over a plan, with the checkpoints of the stage; `made_of` is told of its identity."""
    given = {name: value for name, value in asdict(stage.settings).items() if name not in _NOT_OF_THE_STEPS}
    identity = given | {
        "seed": stage.seed,
        "batches": plan.digest(),
        **made_of,
        "initial weights": weights_digest(model),
    }
    checkpoints = Checkpoints(stage.checkpoints / stage.name, identity, stage.kept_checkpoints)
    settings = stage.select(FitSettings)
    watch = Watch(stage.watch, example_ids, settings.warmup(len(plan)))
    fit(model, plan, backward, settings, checkpoints, watch, with_shares(on_step, shares), stage.name, development)
    if development and processes.rank() == 0:
        write_json(checkpoints.folder / DEVELOPMENT_FILE, development.report())
    log.info("%s: %d steps done; examples in no batch: %s", stage.name, len(plan), shares.in_no_batch_text())
    model.to("cpu")


def weights_digest(model: torch.nn.Module) -> str:
    """Digest of all weights of a model, by name."""
    state = sorted(model.state_dict().items())
    return digest_all(
        stable_id(name, hashlib.sha256(tensor.detach().cpu().contiguous().view(torch.uint8).numpy()).hexdigest())
        for name, tensor in state
        if tensor.ndim
    )
