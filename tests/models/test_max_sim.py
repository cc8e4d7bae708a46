"""MaxSim without padding against sentence-transformers' own: value and gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.multi_vector_encoder.scoring import colbert_kd_scores
from sentence_transformers.util import maxsim

from ruri_kedro.models import max_sim as module
from ruri_kedro.models.max_sim import max_sim, max_sim_of


def unit_vectors(lengths, d=8, seed=0):
    """Vectors of length 1 of all tokens, (sum of lengths, d)."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(int(sum(lengths)), d, generator=generator)
    return torch.nn.functional.normalize(vectors, dim=1).requires_grad_()


def padded(vectors, lengths):
    """(texts, longest, d) and its mask."""
    parts = vectors.split(list(lengths))
    longest = max(lengths)
    rows = torch.stack([torch.nn.functional.pad(part, (0, 0, 0, longest - len(part))) for part in parts])
    return rows, torch.arange(longest) < torch.tensor(lengths)[:, None]


def assert_same(actual, expected, leaves, seed=3):
    """Values and gradients to 1e-5, of a sum with weights of their own."""
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
    weights = torch.randn(actual.shape, generator=torch.Generator().manual_seed(seed))
    ours, theirs = (torch.autograd.grad((scores * weights).sum(), leaves) for scores in (actual, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.integers(1, 40),
)
def test_all_pairs_are_those_of_sentence_transformers(asked, given, block):
    queries, documents = unit_vectors(asked, seed=1), unit_vectors(given, seed=2)
    (a, a_mask), (b, b_mask) = padded(queries, asked), padded(documents, given)
    expected = maxsim(a, b, a_mask, b_mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module._BLOCK, "cpu", (block, block))
        found = max_sim(queries, np.array(asked), documents, np.array(given))
        with torch.no_grad():
            torch.testing.assert_close(max_sim(queries, np.array(asked), documents, np.array(given)), found)
    assert_same(found, expected, (queries, documents))


def test_candidates_of_each_query_are_those_of_sentence_transformers():
    asked, given, ways = [3, 7, 1, 5], [4, 9, 2, 6, 1, 8, 3], 3
    candidates = np.array([[0, 6, 2], [2, 1, 0], [5, 5, 3], [4, 3, 6]])  # shared, repeated, in any order
    queries, documents = unit_vectors(asked, seed=1), unit_vectors(given, seed=2)
    (a, a_mask), (b, b_mask) = padded(queries, asked), padded(documents, given)
    expected = colbert_kd_scores(a, b[candidates], a_mask, b_mask[candidates])
    found = max_sim_of(queries, np.array(asked), documents, np.array(given), candidates)
    assert found.shape == (4, ways)
    assert_same(found, expected, (queries, documents))
    torch.testing.assert_close(found.detach(), max_sim_of(*(
        (queries.detach(), np.array(asked), documents.detach(), np.array(given), candidates))))  # fmt: skip


def test_a_candidate_that_is_missing_scores_0_and_teaches_nothing():
    queries, documents = unit_vectors([2, 3], seed=1), unit_vectors([4, 5], seed=2)
    lengths = np.array([2, 3]), np.array([4, 5])
    found = max_sim_of(queries, lengths[0], documents, lengths[1], np.array([[1, -1], [-1, -1]]))
    torch.testing.assert_close(found[0, 0], max_sim(queries, lengths[0], documents, lengths[1])[0, 1])
    assert (found[0, 1], *found[1]) == (0, 0, 0)
    of_queries, of_documents = torch.autograd.grad(found.sum(), (queries, documents))
    assert (of_queries[2:] == 0).all() and (of_documents[:4] == 0).all()


def test_texts_without_tokens():
    """A document is as unlike as can be, a query scores nothing, and neither has a gradient."""
    queries, documents = unit_vectors([2, 0, 3], seed=1), unit_vectors([0, 4, 0], seed=2)
    asked, given = np.array([2, 0, 3]), np.array([0, 4, 0])
    found = max_sim(queries, asked, documents, given)
    assert found[:, 0].tolist() == found[:, 2].tolist() == [-2, 0, -3] and found[1].tolist() == [-0.0, 0, 0]
    assert all(torch.isfinite(part).all() for part in torch.autograd.grad(found.sum(), (queries, documents)))
    none = max_sim(queries[:0], asked[:0], documents, given)
    assert none.shape == (0, 3)
    assert max_sim(queries, asked, documents[:0], given[:0]).shape == (3, 0)
    alone = max_sim_of(queries, asked, documents, given, np.array([[0, 1], [1, 2], [2, 0]]))
    assert alone.detach()[2].tolist() == [-3, -3]
