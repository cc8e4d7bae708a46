"""Losses against sentence-transformers or a direct float64 formula: value and gradient."""

import pytest
import torch
import torch.nn.functional as F
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from ruri_kedro.training.losses import distillation, improved_contrastive, listwise_cross_entropy, min_max

TEMPERATURE = 0.05


def embeddings(b, n, d=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((b, d), (b, d), (b, n, d))
    ]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_improved_contrastive_is_that_of_sentence_transformers(n):
    anchors, positives, negatives = embeddings(6, n)
    reference = MultipleNegativesRankingLoss(
        model=None,
        scale=1 / TEMPERATURE,
        directions=("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"),
        partition_mode="joint",
    )
    expected = reference.compute_loss_from_embeddings([anchors, positives, *negatives.unbind(1)], None)
    actual = improved_contrastive(anchors, positives, negatives, torch.ones(6, n, dtype=torch.bool), TEMPERATURE)
    torch.testing.assert_close(actual, expected)
    leaves = (anchors, positives, negatives) if n else (anchors, positives)
    for ours, theirs in zip(torch.autograd.grad(actual, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_masked_negative_is_no_negative():
    anchors, positives, negatives = embeddings(4, 2)
    mask = torch.tensor([[True, False], [True, True], [False, False], [True, False]])
    actual = improved_contrastive(anchors, positives, negatives, mask, TEMPERATURE)
    torch.testing.assert_close(actual, direct_contrastive(anchors, positives, negatives, mask))
    gradient = torch.autograd.grad(actual, negatives)[0]
    assert gradient[~mask].abs().max() == 0
    assert gradient[mask].abs().min() > 0


def direct_contrastive(anchors, positives, negatives, mask):
    """The sum written out term by term."""
    a, p, n = (F.normalize(x, dim=-1) for x in (anchors, positives, negatives))
    total = 0
    for i in range(len(a)):
        terms = [a[i] @ p[j] for j in range(len(a))]
        terms += [a[i] @ n[j, k] for j in range(len(a)) for k in range(n.shape[1]) if mask[j, k]]
        terms += [a[i] @ a[j] for j in range(len(a)) if j != i]
        terms += [p[i] @ a[j] for j in range(len(a))]
        terms += [p[i] @ p[j] for j in range(len(a)) if j != i]
        terms += [p[i] @ n[j, k] for j in range(len(a)) if j != i for k in range(n.shape[1]) if mask[j, k]]
        total += torch.logsumexp(torch.stack(terms) / TEMPERATURE, 0) - a[i] @ p[i] / TEMPERATURE
    return total / len(a)


def test_distillation_is_kl_of_min_max_scores():
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(5, 4, generator=generator, dtype=torch.float64) * 7
    mask = torch.ones(5, 4, dtype=torch.bool)
    actual = distillation(student, teacher, mask, 0.3)

    def scaled(x):
        return (x - x.amin(1, keepdim=True)) / (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)) / 0.3

    expected = F.kl_div(scaled(student).log_softmax(1), scaled(teacher).softmax(1), reduction="batchmean")
    torch.testing.assert_close(actual, expected)
    ours, theirs = (torch.autograd.grad(loss, student)[0] for loss in (actual, expected))
    torch.testing.assert_close(ours, theirs)


def test_distillation_does_not_see_masked_passages():
    student = torch.tensor([[0.9, 0.1, 0.5, 0.3]], requires_grad=True)
    teacher = torch.tensor([[3.0, -1.0, 0.0, 99.0]])
    mask = torch.tensor([[True, True, True, False]])
    masked = distillation(student, teacher, mask, 1.0)
    torch.testing.assert_close(masked, distillation(student[:, :3], teacher[:, :3], mask[:, :3], 1.0))
    assert torch.autograd.grad(masked, student)[0][0, 3] == 0


def test_equal_teacher_scores_give_no_nan():
    student = torch.full((2, 3), 0.2, requires_grad=True)
    loss = distillation(student, torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), 0.1)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


def test_min_max_spans_zero_to_one_within_the_mask():
    scores = torch.tensor([[5.0, 1.0, 3.0, 100.0]])
    mask = torch.tensor([[True, True, True, False]])
    assert min_max(scores, mask).tolist() == [[1.0, 0.0, 0.5, 0.0]]


def test_listwise_is_cross_entropy_of_the_first_column():
    scores = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    actual = listwise_cross_entropy(scores, torch.ones(6, 5, dtype=torch.bool))
    expected = F.cross_entropy(scores, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(actual, expected)
    ours, theirs = (torch.autograd.grad(loss, scores)[0] for loss in (actual, expected))
    torch.testing.assert_close(ours, theirs)


def test_listwise_leaves_out_missing_passages():
    scores = torch.tensor([[1.0, 2.0, 9.0]])
    masked = listwise_cross_entropy(scores, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(masked, F.cross_entropy(scores[:, :2], torch.tensor([0])))
