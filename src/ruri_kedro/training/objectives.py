"""From a batch to gradients: the forward passes of bi-encoders and cross-encoders and the loss of each objective."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sentence_transformers import CrossEncoder, SentenceTransformer

from ruri_kedro.encoders.encode import embed, logits
from ruri_kedro.encoders.pairs import PairLayout
from ruri_kedro.encoders.tokens import chunk_by_tokens
from ruri_kedro.errors import RecipeError
from ruri_kedro.training.data import ANCHOR, NEGATIVES, POSITIVE, TrainingSet
from ruri_kedro.training.gradcache import cached_backward
from ruri_kedro.training.losses import distillation, improved_contrastive, listwise_cross_entropy
from ruri_kedro.training.plan import Batch, token_share

Backward = Callable[[Batch], float]


@dataclass(frozen=True)
class Budget:
    """Padded tokens of one forward pass, tokens whose activations may be kept, and the precision of the passes."""

    chunk_tokens: int
    keep_tokens: int
    precision: str  # float32 or bfloat16

    def autocast(self, device: torch.device) -> AbstractContextManager:
        """The context of a forward pass."""
        if self.precision not in ("float32", "bfloat16"):
            raise RecipeError(f"precision '{self.precision}' is unknown; use float32 or bfloat16.")
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")


def embedding_backward(
    model: SentenceTransformer,
    data: TrainingSet,
    budget: Budget,
    temperature: float,
    distillation_temperature: float,
) -> Backward:
    """Gradients of a bi-encoder; the group of a batch names its objective, contrastive or distillation."""

    def backward(batch: Batch) -> float:
        columns = data.texts[batch.rows]
        distinct, positions = np.unique(columns, return_inverse=True)
        positions = positions.reshape(columns.shape) - (distinct[0] < 0)
        distinct = distinct[distinct >= 0]
        lengths = data.tokens.lengths[distinct]
        chunks = chunk_by_tokens(lengths, budget.chunk_tokens)

        def forward(items: np.ndarray) -> torch.Tensor:
            with budget.autocast(model.device):
                return embed(model, [data.tokens.row(distinct[item]) for item in items])

        def loss_of(embeddings: torch.Tensor) -> torch.Tensor:
            place = torch.as_tensor(positions, device=embeddings.device)
            mask = place[:, NEGATIVES:] >= 0
            vectors = embeddings[place.clamp_min(0)]
            if data.objectives[batch.group] == "distillation":
                scores = torch.as_tensor(data.teacher[batch.rows], device=embeddings.device)
                return _distillation_loss(vectors, mask, scores, distillation_temperature)
            return improved_contrastive(
                vectors[:, ANCHOR], vectors[:, POSITIVE], vectors[:, NEGATIVES:], mask, temperature
            )

        sizes = [int(lengths[chunk].max()) * len(chunk) for chunk in chunks]
        return cached_backward(forward, chunks, sizes, budget.keep_tokens, loss_of)

    return backward


def _distillation_loss(
    vectors: torch.Tensor, mask: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    vectors = F.normalize(vectors, dim=-1)
    student = torch.einsum("bd,bcd->bc", vectors[:, ANCHOR], vectors[:, POSITIVE:])
    present = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
    return distillation(student, teacher.nan_to_num(), present, temperature)


def reranking_backward(model: CrossEncoder, data: TrainingSet, budget: Budget, max_length: int) -> Backward:
    """Gradients of a cross-encoder. `data` is tokenised without special tokens.

    Query groups are independent of each other, so a batch is worked off in shares of `keep_tokens`; only a group
    that is larger than that by itself is computed twice.
    """
    layout = PairLayout.of(model.tokenizer)

    def backward(batch: Batch) -> float:
        passages = data.texts[batch.rows, POSITIVE:]
        queries = np.broadcast_to(data.texts[batch.rows, ANCHOR, None], passages.shape)
        lengths = layout.lengths(data.tokens.lengths[queries], data.tokens.lengths[passages], max_length)
        lengths = np.where(passages >= 0, lengths, 0)
        return sum(
            _share_backward(model, layout, data, budget, max_length, queries[part], passages[part], len(batch.rows))
            for part in token_share(lengths.sum(axis=1), budget.keep_tokens)
        )

    return backward


def _share_backward(
    model: CrossEncoder,
    layout: PairLayout,
    data: TrainingSet,
    budget: Budget,
    max_length: int,
    queries: np.ndarray,
    passages: np.ndarray,
    groups: int,
) -> float:
    """Gradients of some of a batch's `groups` query groups, weighted by their share of the batch."""
    present = passages >= 0
    q, p = queries[present], passages[present]
    lengths = layout.lengths(data.tokens.lengths[q], data.tokens.lengths[p], max_length)
    chunks = chunk_by_tokens(lengths, budget.chunk_tokens)

    def forward(items: np.ndarray) -> torch.Tensor:
        with budget.autocast(model.device):
            return logits(model, layout, [(data.tokens.row(q[i]), data.tokens.row(p[i])) for i in items], max_length)

    def loss_of(scores: torch.Tensor) -> torch.Tensor:
        mask = torch.as_tensor(present, device=scores.device)
        table = torch.zeros(mask.shape, device=scores.device).masked_scatter(mask, scores)
        return listwise_cross_entropy(table, mask) * (len(present) / groups)

    sizes = [int(lengths[chunk].max()) * len(chunk) for chunk in chunks]
    return cached_backward(forward, chunks, sizes, budget.keep_tokens, loss_of)
