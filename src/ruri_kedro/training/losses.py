"""Losses as pure functions of embeddings and scores. b: batch, n: negatives per row, c: 1 + n, d: dimension."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

_EPSILON = 1e-9
_BLOCK = 2**22  # similarities in memory at a time: 16 MiB, which a cache holds


def improved_contrastive(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor,
    mask: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """The improved contrastive loss of GTE (arXiv 2308.03281, Eq. 2), mean over rows, as Ruri uses it.

    One partition function holds the four blocks query-passage, query-query, passage-query and passage-passage.
    Hard negatives take part as passages of every row; a row's own do not in its passage-passage block.

    anchors, positives: (b, d); negatives: (b, n, d); mask: (b, n) bool, False where a negative is missing.
    """
    a, p = F.normalize(anchors, dim=-1), F.normalize(positives, dim=-1)
    rows = torch.arange(len(a), device=a.device)
    passages = torch.cat([p, F.normalize(negatives[mask], dim=-1)])
    owners = torch.cat([rows, mask.nonzero()[:, 0]])
    # Rows: anchors, then positives. Columns: passages, then anchors. An anchor does not meet itself, a positive does
    # not meet the passages of its own row.
    hidden = torch.stack(
        [
            torch.cat([rows, len(a) + owners]),
            torch.cat([len(passages) + rows, torch.arange(len(passages), device=a.device)]),
        ]
    )
    both = log_partition(torch.cat([a, p]), torch.cat([passages, a]) / temperature, hidden)
    positive = (a * p).sum(dim=1) / temperature
    return (torch.logaddexp(*both.chunk(2)) - positive).mean()


def info_nce(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor,
    mask: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """InfoNCE (arXiv 1807.03748, Eq. 4): cross-entropy of each anchor's positive among all passages of the batch.

    anchors, positives: (b, d); negatives: (b, n, d); mask: (b, n) bool, False where a negative is missing.
    """
    a, p = F.normalize(anchors, dim=-1), F.normalize(positives, dim=-1)
    passages = torch.cat([p, F.normalize(negatives[mask], dim=-1)])
    positive = (a * p).sum(dim=1) / temperature
    return (log_partition(a, passages / temperature) - positive).mean()


def in_batch_cross_entropy(scores: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy of each query's positive among all passages of the batch, mean over queries.

    As `info_nce`, of any scores (b, c): column i has the positive of row i (ColBERT, arXiv 2004.12832, Section 3.3).
    """
    return F.cross_entropy(scores / temperature, torch.arange(len(scores), device=scores.device))


def log_partition(rows: torch.Tensor, columns: torch.Tensor, hidden: torch.Tensor | None = None) -> torch.Tensor:
    """logsumexp of each row of `rows @ columns.T`, (r,), in the memory of a few rows of that matrix.

    rows: (r, d); columns: (c, d); hidden: (2, ~) row and column of the entries that are left out.
    """
    if hidden is None:
        hidden = torch.empty((2, 0), dtype=torch.int64, device=rows.device)
    return _LogPartition.apply(rows, columns, hidden)


class _LogPartition(torch.autograd.Function):
    """The matrix is made block by block and never kept: forward keeps its sums, backward makes each block again."""

    @staticmethod
    def forward(ctx, rows: torch.Tensor, columns: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        sums = rows.new_empty(len(rows))
        for part, scores in _blocks(rows, columns, hidden):
            highest = scores.amax(dim=1, keepdim=True)
            sums[part] = scores.sub_(highest).exp_().sum(dim=1).log_() + highest[:, 0]
        ctx.save_for_backward(rows, columns, hidden, sums)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        rows, columns, hidden, sums = ctx.saved_tensors
        of_rows, of_columns = torch.empty_like(rows), torch.zeros_like(columns)
        for part, scores in _blocks(rows, columns, hidden):
            weights = scores.sub_(sums[part, None]).exp_().mul_(gradient[part, None])
            torch.mm(weights, columns, out=of_rows[part])
            of_columns.addmm_(weights.T, rows[part])
        return of_rows, of_columns, None


def _blocks(rows: torch.Tensor, columns: torch.Tensor, hidden: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Parts of the rows and `rows[part] @ columns.T`, hidden entries -inf; a block is overwritten by the next."""
    size = min(max(_BLOCK // len(columns), 1), len(rows))
    block = rows.new_empty((size, len(columns)))
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        scores = torch.mm(rows[part], columns.T, out=block[: part.stop - start])
        own_rows, own_columns = hidden[:, (hidden[0] >= start) & (hidden[0] < part.stop)]
        scores[own_rows - start, own_columns] = -torch.inf
        yield part, scores


def min_max(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Scores (b, c) scaled to [0, 1] within each row, over the entries where `mask` is True.

    A row whose scores are all equal says nothing: it becomes 0 everywhere and has no gradient.
    """
    low = scores.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True)
    high = scores.masked_fill(~mask, -torch.inf).amax(dim=1, keepdim=True)
    flat = high - low < _EPSILON
    return ((scores - low) / (high - low).masked_fill(flat, 1.0)).masked_fill(flat | ~mask, 0.0)


def distillation(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher || student) of softmaxed, per-query min-max normalised scores, mean over queries.

    Ruri (Section 4.2) names the normalisation; the divergence is that of JaColBERTv2.5 (arXiv 2407.20750).
    student, teacher: scores (b, c); mask: (b, c) bool, False where a passage is missing.
    """
    log_student = _masked_log_softmax(min_max(student, mask) / temperature, mask)
    log_teacher = _masked_log_softmax(min_max(teacher, mask) / temperature, mask)
    terms = log_teacher.exp() * (log_teacher - log_student)
    return terms.masked_fill(~mask, 0.0).sum(dim=1).mean()


def margin_mse(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Squared error of the student's margins, positive over negative, against the teacher's (arXiv 2010.02666, Eq. 7).

    student, teacher: scores (b, c), column 0 the positive; mask: (b, c) bool, False where a passage is missing. Mean
    over the negatives that are there, 0 if there is none.
    """
    error = (student[:, :1] - student[:, 1:]) - (teacher[:, :1] - teacher[:, 1:])
    present = mask[:, 1:]
    return error.masked_fill(~present, 0.0).square().sum() / present.sum().clamp_min(1)


def cosent(similarities: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """CoSENT (doi 10.1109/TASLP.2024.3402087): pairs of texts ordered as their labels order them.

    log(1 + sum of exp((s_j - s_i) / temperature)) over all i, j with label i above label j.
    similarities, labels: (b,), of b pairs of texts.
    """
    logits = similarities / temperature
    gaps = (logits[None, :] - logits[:, None])[labels[:, None] > labels[None, :]]
    return torch.logsumexp(torch.cat([gaps.new_zeros(1), gaps]), dim=0)


def angle(first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """AnglE (arXiv 2309.12871, Eq. 7): CoSENT on the angle of the pairs in complex space.

    The halves of an embedding are real and imaginary parts. first, second: (b, d), d even; labels: (b,).
    """
    z, w = (torch.complex(*F.normalize(x, dim=-1).chunk(2, dim=-1)) for x in (first, second))
    product = (z * w.conj()).sum(dim=-1)
    return cosent((product.real + product.imag).abs(), labels, temperature)


def matryoshka(
    loss: Callable[[torch.Tensor], torch.Tensor], dims: Sequence[int], weights: Sequence[float] | None = None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """`loss` on the first `dims` components of embeddings (..., d), weighted sum (arXiv 2205.13147, Eq. 1).

    weights: one for each of `dims`, 1 by default. `loss` must not depend on the length of the embeddings.
    """
    factors = [1.0] * len(dims) if weights is None else weights

    def nested(vectors: torch.Tensor) -> torch.Tensor:
        return sum(factor * loss(vectors[..., :dim]) for dim, factor in zip(dims, factors, strict=True))

    return nested


def listwise_cross_entropy(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the first passage among all of its query (Ruri, Section 3.2), mean over queries.

    scores: logits (b, c), column 0 the positive; mask: (b, c) bool, False where a passage is missing.
    """
    return listwise_losses(scores, mask).mean()


def listwise_losses(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The terms of `listwise_cross_entropy`, one for each query, (b,)."""
    return -_masked_log_softmax(scores, mask)[:, 0]


def _masked_log_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Log-softmax over the entries of the mask; a large negative number elsewhere, so that no NaN arises."""
    return F.log_softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=1)
