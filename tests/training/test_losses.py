"""Losses against sentence-transformers or a direct float64 formula: value and gradient."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.losses import (
    AnglELoss,
    CoSENTLoss,
    MarginMSELoss,
    MultipleNegativesRankingLoss,
)

from ruri_kedro.training import losses
from ruri_kedro.training.losses import (
    angle,
    cosent,
    distillation,
    improved_contrastive,
    info_nce,
    listwise_cross_entropy,
    margin_mse,
    matryoshka,
    min_max,
)

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
    assert_same_gradients(actual, expected, (anchors, positives, negatives) if n else (anchors, positives))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_info_nce_is_that_of_sentence_transformers(n):
    anchors, positives, negatives = embeddings(6, n)
    reference = MultipleNegativesRankingLoss(model=None, scale=1 / TEMPERATURE)
    expected = reference.compute_loss_from_embeddings([anchors, positives, *negatives.unbind(1)], None)
    actual = info_nce(anchors, positives, negatives, torch.ones(6, n, dtype=torch.bool), TEMPERATURE)
    torch.testing.assert_close(actual, expected)
    assert_same_gradients(actual, expected, (anchors, positives, negatives) if n else (anchors, positives))


def test_info_nce_leaves_out_masked_negatives():
    anchors, positives, negatives = embeddings(4, 2)
    mask = torch.tensor([[True, False], [True, True], [False, False], [True, False]])
    actual = info_nce(anchors, positives, negatives, mask, TEMPERATURE)
    a, passages = F.normalize(anchors, dim=-1), F.normalize(torch.cat([positives, negatives[mask]]), dim=-1)
    expected = F.cross_entropy(a @ passages.T / TEMPERATURE, torch.arange(4))
    torch.testing.assert_close(actual, expected)
    assert_same_gradients(actual, expected, (anchors, positives, negatives))


def assert_same_gradients(actual, expected, leaves):
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
    target = (scaled(teacher) / 0.3).softmax(1)
    expected = F.kl_div((scaled(student) / 0.3).log_softmax(1), target, reduction="batchmean")
    torch.testing.assert_close(actual, expected)
    assert_same_gradients(actual, expected, [student])


def scaled(x):
    """Each row from 0 to 1."""
    return (x - x.amin(1, keepdim=True)) / (x.amax(1, keepdim=True) - x.amin(1, keepdim=True))


def test_distillation_does_not_see_masked_passages():
    student = torch.tensor([[0.9, 0.1, 0.5, 0.3]], requires_grad=True)
    teacher = torch.tensor([[3.0, -1.0, 0.0, 99.0]])
    mask = torch.tensor([[True, True, True, False]])
    masked = distillation(student, teacher, mask, 1.0)
    torch.testing.assert_close(masked, distillation(student[:, :3], teacher[:, :3], mask[:, :3], 1.0))
    assert torch.autograd.grad(masked, student)[0][0, 3] == 0


def test_equal_teacher_scores_are_a_uniform_teacher():
    student = torch.tensor([[0.9, 0.1, 0.5]], dtype=torch.float64, requires_grad=True)
    loss = distillation(student, torch.full((1, 3), 4.0), torch.ones(1, 3, dtype=torch.bool), 0.5)
    expected = F.kl_div((scaled(student) / 0.5).log_softmax(1), torch.full((1, 3), 1 / 3), reduction="batchmean")
    torch.testing.assert_close(loss, expected, check_dtype=False)
    assert_same_gradients(loss, expected, [student])


def test_equal_scores_of_the_student_have_no_gradient():
    student = torch.full((2, 3), 0.2, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    loss = distillation(student, torch.arange(6.0).reshape(2, 3), mask, 0.1)
    loss.backward()
    assert torch.isfinite(loss)
    assert student.grad.abs().max() == 0


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_distillation_of_any_scores_and_mask_is_finite(data):
    b, c = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    scores = st.lists(st.sampled_from([-30.0, 0.0, 0.25, 0.2500001, 7.5]), min_size=c, max_size=c)
    student, teacher = (torch.tensor([data.draw(scores) for _ in range(b)]) for _ in range(2))
    mask = torch.tensor([[True, *data.draw(st.lists(st.booleans(), min_size=c - 1, max_size=c - 1))] for _ in range(b)])
    student.requires_grad_()
    loss = distillation(student, teacher, mask, 0.1)
    loss.backward()
    assert torch.isfinite(loss) and loss >= -1e-6
    assert torch.isfinite(student.grad).all()
    assert (student.grad[~mask] == 0).all()


def test_min_max_spans_zero_to_one_within_the_mask():
    scores = torch.tensor([[5.0, 1.0, 3.0, 100.0]])
    mask = torch.tensor([[True, True, True, False]])
    assert min_max(scores, mask).tolist() == [[1.0, 0.0, 0.5, 0.0]]


def test_listwise_is_cross_entropy_of_the_first_column():
    scores = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    actual = listwise_cross_entropy(scores, torch.ones(6, 5, dtype=torch.bool))
    expected = F.cross_entropy(scores, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(actual, expected)
    assert_same_gradients(actual, expected, [scores])


def test_listwise_leaves_out_missing_passages():
    scores = torch.tensor([[1.0, 2.0, 9.0]])
    masked = listwise_cross_entropy(scores, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(masked, F.cross_entropy(scores[:, :2], torch.tensor([0])))


@pytest.mark.parametrize("n", [1, 3])
def test_margin_mse_is_that_of_sentence_transformers(n):
    anchors, positives, negatives = embeddings(6, n)
    teacher = torch.randn(6, n + 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 5
    reference = MarginMSELoss(model=None)
    expected = reference.compute_loss_from_embeddings([anchors, positives, *negatives.unbind(1)], teacher)
    student = torch.einsum("bd,bcd->bc", anchors, torch.cat([positives[:, None], negatives], dim=1))
    actual = margin_mse(student, teacher, torch.ones(6, n + 1, dtype=torch.bool))
    torch.testing.assert_close(actual, expected)
    assert_same_gradients(actual, expected, (anchors, positives, negatives))


def test_margin_mse_is_the_mean_over_the_negatives_that_are_there():
    student = torch.tensor([[1.0, 0.0, 50.0], [2.0, 1.5, 1.0], [3.0, 9.0, 9.0]], requires_grad=True)
    teacher = torch.tensor([[4.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [True, True, True], [True, False, False]])
    loss = margin_mse(student, teacher, mask)
    assert loss.item() == pytest.approx(((1 - 3) ** 2 + (0.5 - 1) ** 2 + (1 - 1) ** 2) / 3)
    assert (torch.autograd.grad(loss, student)[0][~mask] == 0).all()
    assert margin_mse(student[2:], teacher[2:], mask[2:]).item() == 0


LABELS = [0.0, 0.5, 1.0, 0.5, 0.2, 0.0, 1.0]


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_cosent_and_angle_are_those_of_sentence_transformers(temperature):
    first, second, _ = embeddings(7, 0)
    labels = torch.tensor(LABELS, dtype=torch.float64)
    cosines = F.cosine_similarity(first, second)
    for actual, reference in (
        (cosent(cosines, labels, temperature), CoSENTLoss(None, scale=1 / temperature)),
        (angle(first, second, labels, temperature), AnglELoss(None, scale=1 / temperature)),
    ):
        expected = reference.compute_loss_from_embeddings([first, second], labels)
        torch.testing.assert_close(actual, expected)
        assert_same_gradients(actual, expected, (first, second))


def test_cosent_of_equal_labels_is_zero():
    cosines = torch.tensor([0.1, 0.9], requires_grad=True)
    loss = cosent(cosines, torch.ones(2), 0.05)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, cosines)[0].tolist() == [0, 0]


def test_matryoshka_is_the_weighted_sum_over_the_dimensions():
    anchors, positives, negatives = embeddings(5, 2)
    mask = torch.ones(5, 2, dtype=torch.bool)
    vectors = torch.cat([anchors[:, None], positives[:, None], negatives], dim=1)

    def loss(x):
        return info_nce(x[:, 0], x[:, 1], x[:, 2:], mask, TEMPERATURE)

    expected = 2 * loss(vectors[..., :3]) + 0.5 * loss(vectors)
    actual = matryoshka(loss, [3, 8], [2, 0.5])(vectors)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(matryoshka(loss, [8])(vectors), loss(vectors))
    with pytest.raises(ValueError):
        matryoshka(loss, [3, 8], [1])(vectors)


@pytest.mark.parametrize("loss", [improved_contrastive, info_nce])
@pytest.mark.parametrize("n", [0, 2])
def test_a_loss_in_blocks_of_rows_is_the_loss_in_one(loss, n, monkeypatch):
    mask = torch.arange(7 * n).reshape(7, n) % 3 > 0
    vectors = embeddings(7, n)
    whole = loss(*vectors, mask, TEMPERATURE)
    monkeypatch.setattr(losses, "_BLOCK", 90)  # 12, 6, 5 or 3 rows of 7 or 14: a smaller block is left over
    blocks = loss(*vectors, mask, TEMPERATURE)
    torch.testing.assert_close(blocks, whole)
    assert_same_gradients(blocks, whole, vectors[: 2 + (n > 0)])
