"""From a batch to gradients: the forward passes of bi-encoders and cross-encoders and the loss of each objective."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from sentence_transformers import CrossEncoder, SentenceTransformer

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.forward import embed, logits
from ruri_kedro.models.pairs import PairLayout
from ruri_kedro.models.precision import autocast
from ruri_kedro.models.tokens import forward_chunks, padded_length
from ruri_kedro.recipe.objectives import LABELLED
from ruri_kedro.training import processes
from ruri_kedro.training.data import ANCHOR, NEGATIVES, POSITIVE, TrainingSet
from ruri_kedro.training.gradcache import cached_backward
from ruri_kedro.training.losses import (
    angle,
    cosent,
    distillation,
    improved_contrastive,
    info_nce,
    listwise_cross_entropy,
    listwise_losses,
    margin_mse,
    matryoshka,
)
from ruri_kedro.training.measures import Measures
from ruri_kedro.training.plan import Batch, token_share

Backward = Callable[[Batch], Measures]


@dataclass(frozen=True)
class Budget:
    """Padded tokens of one forward pass, tokens whose activations may be kept, and the precision of the passes."""

    chunk_tokens: int
    keep_tokens: int
    precision: str  # float32 or bfloat16


@dataclass(frozen=True)
class LossSettings:
    """Parameters of the losses of a bi-encoder."""

    temperature: float
    distillation_temperature: float | None = None  # None: of a stage whose objectives have no teacher
    matryoshka_dims: Sequence[int] | None = None  # None: the whole embedding only
    matryoshka_weights: Sequence[float] | None = None  # one for each of the dims; None: 1

    def check_halves(self, dimension: int, stage: str) -> None:
        """Raises RecipeError where embeddings of `dimension`, or cut ones, have no two halves, as angle needs them."""
        odd = [dim for dim in self.matryoshka_dims or (dimension,) if dim % 2]
        if odd:
            raise RecipeError(f"{stage}: the objective angle halves embeddings, but {odd[0]} is odd. Take cosent.")

    def check(self, dimension: int, stage: str) -> None:
        """Raises RecipeError if the Matryoshka dimensions do not fit embeddings of `dimension` or their weights."""
        dims, weights = self.matryoshka_dims, self.matryoshka_weights
        if dims is not None and not (dims and all(0 < dim <= dimension for dim in dims) and dimension in dims):
            raise RecipeError(
                f"{stage}.matryoshka_dims: {list(dims)}; give dimensions up to that of the model, {dimension}, and "
                f"{dimension} among them."
            )
        if weights is not None and len(weights) != len(dims or ()):
            raise RecipeError(f"{stage}.matryoshka_weights: {list(weights)}; give one for each of matryoshka_dims.")


@dataclass(frozen=True)
class Rows:
    """What a loss sees of a batch."""

    vectors: torch.Tensor  # (b, 2 + n, d): anchor, positive, negatives
    mask: torch.Tensor  # (b, n) bool, False where a negative is missing
    teacher: torch.Tensor | None  # (b, 1 + n), scores of positive and negatives; NaN for none
    labels: torch.Tensor | None = None  # (b,), of the pairs of anchor and positive


def _contrastive(rows: Rows, settings: LossSettings) -> torch.Tensor:
    return improved_contrastive(*_columns(rows), rows.mask, settings.temperature)


def _info_nce(rows: Rows, settings: LossSettings) -> torch.Tensor:
    return info_nce(*_columns(rows), rows.mask, settings.temperature)


def _listwise(rows: Rows, settings: LossSettings) -> torch.Tensor:
    return listwise_cross_entropy(_cosines(rows) / settings.temperature, _present(rows))


def _distillation(rows: Rows, settings: LossSettings) -> torch.Tensor:
    return distillation(_cosines(rows), rows.teacher.nan_to_num(), _present(rows), settings.distillation_temperature)


def _margin_mse(rows: Rows, settings: LossSettings) -> torch.Tensor:
    # Margins of cosines are at most 2, those of logits are not: the temperature brings them together.
    student = _cosines(rows) / settings.distillation_temperature
    return margin_mse(student, rows.teacher.nan_to_num(), _present(rows))


def _cosent(rows: Rows, settings: LossSettings) -> torch.Tensor:
    return cosent(_cosines(rows)[:, 0], rows.labels, settings.temperature)


def _angle(rows: Rows, settings: LossSettings) -> torch.Tensor:
    return angle(rows.vectors[:, ANCHOR], rows.vectors[:, POSITIVE], rows.labels, settings.temperature)


LOSSES: dict[str, Callable[[Rows, LossSettings], torch.Tensor]] = {
    "contrastive": _contrastive,
    "info_nce": _info_nce,
    "listwise": _listwise,
    "distillation": _distillation,
    "margin_mse": _margin_mse,
    "cosent": _cosent,
    "angle": _angle,
}


def rows_loss(objective: str, rows: Rows, settings: LossSettings) -> torch.Tensor:
    """The loss of a batch by the name of its objective."""

    def loss(vectors: torch.Tensor) -> torch.Tensor:
        return LOSSES[objective](replace(rows, vectors=vectors), settings)

    if settings.matryoshka_dims is not None:
        loss = matryoshka(loss, settings.matryoshka_dims, settings.matryoshka_weights)
    return loss(rows.vectors)


def _columns(rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return rows.vectors[:, ANCHOR], rows.vectors[:, POSITIVE], rows.vectors[:, NEGATIVES:]


def _cosines(rows: Rows) -> torch.Tensor:
    """Cosines (b, 1 + n) of the anchor with positive and negatives."""
    vectors = F.normalize(rows.vectors, dim=-1)
    return torch.einsum("bd,bcd->bc", vectors[:, ANCHOR], vectors[:, POSITIVE:])


def _present(rows: Rows) -> torch.Tensor:
    """The mask of positive and negatives, (b, 1 + n)."""
    return torch.cat([torch.ones_like(rows.mask[:, :1]), rows.mask], dim=1)


def embedding_backward(
    model: SentenceTransformer, data: TrainingSet, budget: Budget, settings: LossSettings
) -> Backward:
    """Gradients of a bi-encoder; the group of a batch names its objective, a key of LOSSES."""

    def backward(batch: Batch) -> Measures:
        columns = batch.columns(data.texts, NEGATIVES)
        distinct, positions = np.unique(columns, return_inverse=True)
        positions = positions.reshape(columns.shape) - (distinct[0] < 0)
        distinct = distinct[distinct >= 0]
        lengths = data.tokens.lengths[distinct]
        chunks = forward_chunks(lengths, budget.chunk_tokens, model.device)
        similarity: list[float] = []

        def forward(items: np.ndarray) -> torch.Tensor:
            with autocast(model.device, budget.precision):
                return embed(model, [data.tokens.row(distinct[item]) for item in items])

        def loss_of(embeddings: torch.Tensor) -> torch.Tensor:
            place = torch.as_tensor(positions, device=embeddings.device)
            mask = place[:, NEGATIVES:] >= 0
            vectors = embeddings[place.clamp_min(0)]
            similarity.append(mean_cosine(embeddings))
            teacher = None
            if data.teacher is not None:
                teacher = torch.as_tensor(data.teacher[batch.rows], device=embeddings.device)
            objective, labels = data.objectives[batch.group], None
            if objective in LABELLED:
                labels = torch.as_tensor(data.labels[batch.rows], device=embeddings.device)
            return rows_loss(objective, Rows(vectors, mask, teacher, labels), settings)

        sizes = [padded_length(int(lengths[chunk].max())) * len(chunk) for chunk in chunks]
        loss = cached_backward(forward, chunks, sizes, budget.keep_tokens, loss_of)
        source_losses = {} if batch.group < 0 else {data.group_names[batch.group]: loss}
        return Measures(loss, source_losses, int(lengths.sum()), sum(sizes), *similarity)

    return backward


@torch.no_grad()
def mean_cosine(embeddings: torch.Tensor) -> float:
    """Mean cosine between any two of the embeddings (m, d)."""
    m = len(embeddings)
    total = F.normalize(embeddings, dim=-1).sum(dim=0).square().sum()
    return float(total - m) / max(m * (m - 1), 1)


def reranking_backward(model: CrossEncoder, data: TrainingSet, budget: Budget, max_length: int) -> Backward:
    """Gradients of a cross-encoder. `data` is tokenised without special tokens.

    Query groups are independent of each other, so a batch is worked off in shares of `keep_tokens`; only a group
    that is larger than that by itself is computed twice.
    """
    layout = PairLayout.of(model.tokenizer)

    def backward(batch: Batch) -> Measures:
        passages = data.texts[batch.rows, POSITIVE:]
        queries = np.broadcast_to(data.texts[batch.rows, ANCHOR, None], passages.shape)
        lengths = layout.lengths(data.tokens.lengths[queries], data.tokens.lengths[passages], max_length)
        lengths = np.where(passages >= 0, lengths, 0)
        shares = [
            _share_backward(model, layout, data, budget, max_length, queries[part], passages[part], len(batch.rows))
            for part in token_share(lengths.sum(axis=1), budget.keep_tokens * processes.size())
        ]
        return Measures(
            loss=sum(share.loss for share in shares),
            source_losses=_by_source(data, batch.rows, np.concatenate([share.losses for share in shares])),
            tokens=int(lengths.sum()),
            padded_tokens=sum(share.padded_tokens for share in shares),
        )

    return backward


def _by_source(data: TrainingSet, rows: np.ndarray, losses: np.ndarray) -> dict[str, float]:
    """Mean loss of the rows of each source."""
    sources = data.groups[rows]
    return {data.group_names[source]: float(losses[sources == source].mean()) for source in np.unique(sources)}


@dataclass(frozen=True)
class _Share:
    """What the backward pass of some query groups gave."""

    loss: float  # their part of the batch's loss
    losses: np.ndarray  # float32, by group
    padded_tokens: int


def _share_backward(
    model: CrossEncoder,
    layout: PairLayout,
    data: TrainingSet,
    budget: Budget,
    max_length: int,
    queries: np.ndarray,
    passages: np.ndarray,
    groups: int,
) -> _Share:
    """Gradients of some of a batch's `groups` query groups, weighted by their share of the batch."""
    present = passages >= 0
    q, p = queries[present], passages[present]
    lengths = layout.lengths(data.tokens.lengths[q], data.tokens.lengths[p], max_length)
    chunks = forward_chunks(lengths, budget.chunk_tokens, model.device)
    losses: list[torch.Tensor] = []

    def forward(items: np.ndarray) -> torch.Tensor:
        with autocast(model.device, budget.precision):
            return logits(model, layout, [(data.tokens.row(q[i]), data.tokens.row(p[i])) for i in items], max_length)

    def loss_of(scores: torch.Tensor) -> torch.Tensor:
        mask = torch.as_tensor(present, device=scores.device)
        table = torch.zeros(mask.shape, device=scores.device).masked_scatter(mask, scores)
        losses.append(listwise_losses(table, mask))
        return losses[0].mean() * (len(present) / groups)

    sizes = [padded_length(int(lengths[chunk].max())) * len(chunk) for chunk in chunks]
    loss = cached_backward(forward, chunks, sizes, budget.keep_tokens, loss_of)
    return _Share(loss, losses[0].detach().cpu().numpy(), sum(sizes))
