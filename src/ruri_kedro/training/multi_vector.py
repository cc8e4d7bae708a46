"""The training of multi-vector models: the losses of bi-encoders, on scores by MaxSim."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.late_interaction import LateInteraction
from ruri_kedro.models.max_sim import max_sim, max_sim_of
from ruri_kedro.models.multi_vector import load_multi_vector
from ruri_kedro.models.precision import autocast
from ruri_kedro.models.token_vectors import Side, embed_tokens, encode_token_rows, vector_lengths
from ruri_kedro.models.tokens import forward_chunks, padded_length, places_of
from ruri_kedro.recipe.objectives import TAUGHT
from ruri_kedro.tables import Table
from ruri_kedro.training import processes
from ruri_kedro.training.checkpoints import sole_training
from ruri_kedro.training.data import ANCHOR, NEGATIVES, POSITIVE, TrainingSet
from ruri_kedro.training.fit import OnStep
from ruri_kedro.training.gradcache import cached_backward
from ruri_kedro.training.held_out import HeldOut, ndcg, reading
from ruri_kedro.training.losses import distillation, in_batch_cross_entropy, listwise_cross_entropy, margin_mse
from ruri_kedro.training.measures import Measures
from ruri_kedro.training.objectives import Backward, Budget, LossSettings, mean_cosine
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.reading import Scores
from ruri_kedro.training.run import Encoding, Stage, in_processes, prepare, train_texts


def train_multi_vector(
    model: MultiVectorEncoder,
    examples: Table,
    passages: Table,
    prompts: Mapping[str, str],
    stage: Stage,
    on_step: OnStep,
    teacher: Scores | None = None,
    source_prompts: Mapping[str, Mapping[str, str]] | None = None,
) -> MultiVectorEncoder:
    """Train a multi-vector model in place on the training rows of `examples` and return it; as `train_embedder`.

    Texts are cut to the lengths of the stage, and to the model's own.
    """
    stage.check()
    if stage.settings.matryoshka_dims is not None:
        raise RecipeError(f"{stage.name}.matryoshka_dims: a multi-vector model has none. Set it to null.")
    if count := processes.wanted(stage.device, stage.devices):
        arguments = {"examples": examples, "passages": passages, "prompts": dict(prompts), "teacher": teacher,
                     "source_prompts": source_prompts}  # fmt: skip
        in_processes(count, train_multi_vector, load_multi_vector, model, stage, on_step, arguments)
        return model
    own = [Side.of(model, task).length for task in ("query", "document")]
    lengths = tuple(min(given, limit or given) for given, limit in zip(stage.settings.lengths, own, strict=True))
    objectives = tuple(name for name in LOSSES if teacher is not None or name not in TAUGHT)
    read = stage.reading(objectives, prompts, source_prompts or {}, examples.parts())
    with sole_training(stage.checkpoints / stage.name):
        prepare(model, stage, max(lengths))
        work = Encoding(multi_vector_backward, of_multi_vector)
        read = replace(read, lengths=lengths)
        train_texts(model, examples, passages, read, stage, stage.select(LossSettings), on_step, teacher, work)
    return model


@dataclass(frozen=True)
class Texts:
    """The texts of a batch, each once, queries first, and the vectors of their tokens."""

    query_lengths: np.ndarray  # int64 (queries,), vectors of each
    document_lengths: np.ndarray  # int64 (documents,)
    queries: np.ndarray  # int64 (b,), query of each row
    documents: np.ndarray  # int64 (b, 1 + n), document of each positive and negative; -1 for none

    def split(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors of the queries' tokens and of the documents', (tokens, d) each."""
        return vectors.split([int(self.query_lengths.sum()), int(self.document_lengths.sum())])

    def own_scores(self, vectors: torch.Tensor) -> torch.Tensor:
        """MaxSim of each row's query with its positive and negatives, (b, 1 + n); 0 for none."""
        asked, given = self.split(vectors)
        lengths = self.query_lengths[self.queries]
        starts = (np.cumsum(self.query_lengths) - self.query_lengths)[self.queries]
        asked = asked[_index(places_of(starts, lengths), vectors)]  # of each row, since rows may share a query
        return max_sim_of(asked, lengths, given, self.document_lengths, self.documents)

    def batch_scores(self, vectors: torch.Tensor) -> torch.Tensor:
        """MaxSim of each row's query with all positives, then all negatives of the batch, (b, c)."""
        asked, given = self.split(vectors)
        scores = max_sim(asked, self.query_lengths, given, self.document_lengths)
        negatives = self.documents[:, 1:]
        columns = np.concatenate([self.documents[:, 0], negatives[negatives >= 0]])
        return scores[_index(self.queries, vectors)][:, _index(columns, vectors)]


def _index(numbers: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(numbers, device=like.device)


@dataclass(frozen=True)
class Rows:
    """What a loss sees of a batch."""

    texts: Texts
    teacher: torch.Tensor | None  # (b, 1 + n), scores of positive and negatives; NaN for none

    def present(self, like: torch.Tensor) -> torch.Tensor:
        """The mask of positive and negatives, (b, 1 + n), on the device of a tensor."""
        return torch.as_tensor(self.texts.documents >= 0).to(like.device)


def _in_batch(vectors: torch.Tensor, rows: Rows, settings: LossSettings) -> torch.Tensor:
    return in_batch_cross_entropy(rows.texts.batch_scores(vectors), settings.temperature)


def _listwise(vectors: torch.Tensor, rows: Rows, settings: LossSettings) -> torch.Tensor:
    return listwise_cross_entropy(rows.texts.own_scores(vectors) / settings.temperature, rows.present(vectors))


def _distillation(vectors: torch.Tensor, rows: Rows, settings: LossSettings) -> torch.Tensor:
    scores = rows.texts.own_scores(vectors)
    return distillation(scores, rows.teacher.nan_to_num(), rows.present(vectors), settings.distillation_temperature)


def _margin_mse(vectors: torch.Tensor, rows: Rows, settings: LossSettings) -> torch.Tensor:
    student = rows.texts.own_scores(vectors) / settings.distillation_temperature
    return margin_mse(student, rows.teacher.nan_to_num(), rows.present(vectors))


# Queries are not compared with queries, nor documents with documents: what is left of GTE's loss is cross-entropy.
LOSSES: dict[str, Callable[[torch.Tensor, Rows, LossSettings], torch.Tensor]] = {
    "contrastive": _in_batch,
    "info_nce": _in_batch,
    "listwise": _listwise,
    "distillation": _distillation,
    "margin_mse": _margin_mse,
}


def multi_vector_backward(
    model: MultiVectorEncoder, data: TrainingSet, budget: Budget, settings: LossSettings
) -> Backward:
    """Gradients of a multi-vector model; the group of a batch names its objective, a key of LOSSES."""
    sides = [Side.of(model, task) for task in ("query", "document")]

    def backward(batch: Batch) -> Measures:
        # The texts of the batch, each once: queries first, in chunks of one side each.
        columns = batch.columns(data.texts, NEGATIVES)
        asked, queries = np.unique(columns[:, ANCHOR], return_inverse=True)
        given, documents = _present(columns[:, POSITIVE:])
        tokens = [side.read_lengths(data.tokens.lengths[own]) for side, own in zip(sides, (asked, given), strict=True)]
        chunks = [
            (side, first + chunk)
            for side, first, lengths in zip(sides, (0, len(asked)), tokens, strict=True)
            for chunk in forward_chunks(lengths, budget.chunk_tokens, model.device)
        ]
        read, numbers = np.concatenate(tokens), np.concatenate([asked, given])
        side_of = {int(chunk[0]): side for side, chunk in chunks}

        def rows_of(chunk: np.ndarray) -> list[np.ndarray]:
            return [data.tokens.row(numbers[item]) for item in chunk]

        # Where the vectors of each text will stand among all.
        lengths = np.zeros(len(numbers), np.int64)
        for side, chunk in chunks:
            lengths[chunk] = vector_lengths(model, rows_of(chunk), side)
        starts = np.cumsum(lengths) - lengths
        texts = Texts(lengths[: len(asked)], lengths[len(asked) :], queries, documents)
        similarity: list[float] = []

        def forward(chunk: np.ndarray) -> torch.Tensor:
            with autocast(model.device, budget.precision):
                return embed_tokens(model, rows_of(chunk), side_of[int(chunk[0])])

        def loss_of(vectors: torch.Tensor) -> torch.Tensor:
            similarity.append(mean_cosine(vectors))
            teacher = None
            if data.teacher is not None:
                teacher = torch.as_tensor(data.teacher[batch.rows], device=vectors.device)
            return LOSSES[data.objectives[batch.group]](vectors, Rows(texts, teacher), settings)

        sizes = [padded_length(int(read[chunk].max())) * len(chunk) for _, chunk in chunks]
        places = [places_of(starts[chunk], lengths[chunk]) for _, chunk in chunks]
        loss = cached_backward(forward, [c for _, c in chunks], sizes, budget.keep_tokens, loss_of, places)
        source_losses = {} if batch.group < 0 else {data.group_names[batch.group]: loss}
        return Measures(loss, source_losses, int(read.sum()), sum(sizes), *similarity)

    return backward


def _present(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers of `columns` that are not -1, and the place of each entry among them; -1 stays."""
    distinct, places = np.unique(columns, return_inverse=True)
    missing = int(distinct[0] < 0)
    return distinct[missing:], places.reshape(columns.shape) - missing


def of_multi_vector(model: MultiVectorEncoder, data: TrainingSet, chunk_tokens: int, precision: str) -> HeldOut:
    """nDCG@10 of anchors searched for among the positives of all, by MaxSim."""
    late = LateInteraction(model, chunk_tokens)
    positives = data.identities[:, POSITIVE]
    same = positives[:, None] == positives[None, :]

    def measures() -> dict[str, float]:
        with reading(model):
            asked, given = (
                encode_token_rows(
                    model, [data.tokens.row(text) for text in data.texts[:, column]], side, chunk_tokens, precision
                )
                for column, side in ((ANCHOR, Side.of(model, "query")), (POSITIVE, Side.of(model, "document")))
            )
            scores = late.scores(asked, given)
        return {"held_out/ndcg_at_10": ndcg(np.diag(scores), scores, ~same)}

    return measures
