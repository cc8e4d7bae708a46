"""Reciprocal rank fusion against its formula."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.search.fusion import reciprocal_rank_fusion

RANKINGS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=4)


@given(RANKINGS, st.integers(0, 60))
def test_order_is_that_of_the_exact_formula(rankings, k):
    exact = {
        docid: sum(Fraction(1, k + ranking.index(docid) + 1) for ranking in rankings if docid in ranking)
        for docid in {docid for ranking in rankings for docid in ranking}
    }
    fused = reciprocal_rank_fusion(rankings, k)
    assert [docid for docid, _ in fused] == sorted(exact, key=lambda docid: (-exact[docid], docid))
    assert all(abs(score - exact[docid]) < 1e-12 for docid, score in fused)


@given(RANKINGS, st.integers(0, 60), st.randoms())
def test_the_order_of_the_rankings_does_not_count(rankings, k, rng):
    shuffled = list(rankings)
    rng.shuffle(shuffled)
    assert reciprocal_rank_fusion(shuffled, k) == reciprocal_rank_fusion(rankings, k)


def test_documents_that_tie_by_the_formula_stand_in_order_of_docid():
    fused = reciprocal_rank_fusion([["d", "b"], ["d", "b"], ["b", "e", "f", "g", "d"]], 1)
    assert [docid for docid, _ in fused[:2]] == ["b", "d"]  # 1/3 + 1/3 + 1/2 and 1/2 + 1/2 + 1/6


def test_a_known_example():
    fused = reciprocal_rank_fusion([["a", "b"], ["b", "c"]], 60)
    assert fused == [("b", 1 / 61 + 1 / 62), ("a", 1 / 61), ("c", 1 / 62)]
    assert reciprocal_rank_fusion([], 60) == []
