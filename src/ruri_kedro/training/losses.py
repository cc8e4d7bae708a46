"""Losses as pure functions of embeddings and scores. b: batch, n: negatives per row, d: dimension."""

import torch
import torch.nn.functional as F

_EPSILON = 1e-9


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
    b, n = mask.shape
    a, p = F.normalize(anchors, dim=-1), F.normalize(positives, dim=-1)
    passages = torch.cat([p, F.normalize(negatives, dim=-1).reshape(b * n, a.shape[1])])
    own = torch.eye(b, dtype=torch.bool, device=a.device)
    absent = torch.cat([torch.zeros(b, dtype=torch.bool, device=a.device), ~mask.reshape(-1)]).expand(b, -1)
    own_passages = torch.cat([own, own.repeat_interleave(n, dim=1)], dim=1)
    blocks = [
        (a @ passages.T).masked_fill(absent, -torch.inf),
        (a @ a.T).masked_fill(own, -torch.inf),
        p @ a.T,
        (p @ passages.T).masked_fill(own_passages | absent, -torch.inf),
    ]
    logits = torch.cat(blocks, dim=1) / temperature
    positive = (a * p).sum(dim=1) / temperature
    return (torch.logsumexp(logits, dim=1) - positive).mean()


def min_max(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Scores (b, c) scaled to [0, 1] within each row, over the entries where `mask` is True.

    A row whose scores are all equal becomes 0 everywhere, not NaN.
    """
    low = scores.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True)
    high = scores.masked_fill(~mask, -torch.inf).amax(dim=1, keepdim=True)
    return ((scores - low) / (high - low).clamp_min(_EPSILON)).masked_fill(~mask, 0.0)


def distillation(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher || student) of softmaxed, per-query min-max normalised scores, mean over queries.

    Ruri (Section 4.2) names the normalisation; the divergence is that of JaColBERTv2.5 (arXiv 2407.20750).
    student: cosines (b, c); teacher: scores (b, c); mask: (b, c) bool, False where a passage is missing.
    """
    log_student = _masked_log_softmax(min_max(student, mask) / temperature, mask)
    log_teacher = _masked_log_softmax(min_max(teacher, mask) / temperature, mask)
    terms = log_teacher.exp() * (log_teacher - log_student)
    return terms.masked_fill(~mask, 0.0).sum(dim=1).mean()


def listwise_cross_entropy(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the first passage among all of its query (Ruri, Section 3.2), mean over queries.

    scores: logits (b, c), column 0 the positive; mask: (b, c) bool, False where a passage is missing.
    """
    return -_masked_log_softmax(scores, mask)[:, 0].mean()


def _masked_log_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Log-softmax over the entries of the mask; a large negative number elsewhere, so that no NaN arises."""
    return F.log_softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=1)
