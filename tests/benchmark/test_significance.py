"""Paired statistics: against SciPy, against their definitions, and on simulated systems."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ruri_kedro.benchmark.comparing.significance import (
    bootstrap_interval,
    effect_size,
    holm,
    randomisation_test,
    win_tie_loss,
)
from ruri_kedro.errors import DataError

# Quarters are exact in binary, so ties between sums are ties for any order of adding.
quarters = st.integers(-4, 4).map(lambda n: n / 4)
few = st.lists(quarters, min_size=1, max_size=10).map(np.array)
p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def systems(pairs: int, queries: int, gain: float = 0.0, seed: int = 0) -> np.ndarray:
    """Differences (pairs, queries) in nDCG between systems that share the difficulty of their queries."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 1.5, (pairs, queries))
    first, second = (1 / (1 + np.exp(-difficulty - rng.normal(0, 1, difficulty.shape))) for _ in range(2))
    return second + gain - first


def reciprocal_ranks(pairs: int, queries: int, seed: int = 0) -> np.ndarray:
    """Differences in MRR@10: few values, many ties."""
    rng = np.random.default_rng(seed)
    ranks = rng.geometric(0.4, (2, pairs, queries))
    first, second = np.where(ranks <= 10, 1 / ranks, 0)
    return second - first


@given(few.filter(lambda values: len(values) > 1))
def test_few_queries_give_the_exact_p_of_scipy(differences):
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    # SciPy doubles the smaller tail, which is the same for a distribution that is symmetric.
    assert randomisation_test(differences) == pytest.approx(min(1.0, theirs.pvalue))


def test_many_queries_give_nearly_the_p_of_the_t_test():
    for gain in (0.0, 0.01, 0.03):
        differences = systems(1, 400, gain)[0]
        theirs = stats.ttest_1samp(differences, 0).pvalue
        assert randomisation_test(differences, resamples=50_000) == pytest.approx(theirs, abs=0.01)


def test_sampled_signs_come_near_to_all_signs():
    differences = systems(20, 12)
    exact = randomisation_test(differences, resamples=2**12)
    assert randomisation_test(differences, resamples=2**12 - 1) == pytest.approx(exact, abs=0.04)
    assert not np.array_equal(randomisation_test(differences, resamples=2**12 - 1), exact)


@pytest.mark.parametrize("queries", [8, 70])
def test_a_pair_has_the_same_p_alone_and_among_others(queries):
    differences = systems(7, queries)
    together = randomisation_test(differences, resamples=999, seed=3)
    assert together.shape == (7,)
    alone = [float(randomisation_test(row, resamples=999, seed=3)) for row in differences]
    assert together.tolist() == alone


def test_a_seed_gives_one_p_and_one_interval():
    differences = systems(1, 60, 0.02)[0]
    for function in (randomisation_test, bootstrap_interval):
        assert function(differences, seed=1) == function(differences, seed=1) != function(differences, seed=2)


def test_the_order_of_the_systems_does_not_matter():
    differences = systems(1, 60, 0.02)[0]
    assert randomisation_test(differences) == randomisation_test(-differences)


def test_p_is_never_zero():
    assert randomisation_test(np.full(100, 0.5), resamples=999) == pytest.approx(1 / 1000)


def test_systems_that_are_the_same_have_p_one():
    assert randomisation_test(np.zeros(5)) == 1
    assert randomisation_test(np.zeros(500)) == 1


@pytest.mark.parametrize("simulate", [systems, reciprocal_ranks])
@pytest.mark.parametrize("queries", [15, 80])
def test_a_planted_null_is_found_false_at_the_rate_of_alpha(simulate, queries):
    """Over 10,000 pairs of systems; the standard error of the rate is 0.2%."""
    p = randomisation_test(simulate(10_000, queries, seed=1), resamples=2000)
    assert 0.04 <= (p <= 0.05).mean() <= 0.06


@pytest.mark.parametrize("simulate", [systems, reciprocal_ranks])
def test_an_exact_test_of_few_queries_keeps_alpha(simulate):
    """The p-values of 8 queries are multiples of 1/256, and ties make them coarser: the rate may be lower."""
    assert (randomisation_test(simulate(10_000, 8, seed=1), resamples=2000) <= 0.05).mean() <= 0.055


def test_a_planted_difference_is_found():
    assert (randomisation_test(systems(2000, 200, gain=0.1), resamples=2000) <= 0.05).mean() > 0.99
    small = systems(2000, 200, gain=0.04)
    t_test = (stats.ttest_1samp(small, 0, axis=1).pvalue <= 0.05).mean()
    assert (randomisation_test(small, resamples=2000) <= 0.05).mean() == pytest.approx(t_test, abs=0.02)


def test_holm_keeps_a_family_of_nulls_at_alpha():
    p = randomisation_test(systems(10_000, 40, seed=3), resamples=2000).reshape(2000, 5)
    any_found = np.mean([min(holm(family)) <= 0.05 for family in p.tolist()])
    assert any_found <= 0.065
    assert np.mean(p.min(axis=1) <= 0.05) > 0.18, "uncorrected, a family of five is wrong in 23 of 100"


def test_an_interval_holds_the_true_difference_as_often_as_it_says():
    found = [bootstrap_interval(row, resamples=1000) for row in systems(400, 60, gain=0.05, seed=4)]
    assert 0.92 <= np.mean([low <= 0.05 <= high for low, high in found]) <= 0.98


def test_an_interval_is_near_that_of_the_normal_distribution():
    differences = systems(1, 1000, 0.03)[0]
    half = 1.96 * differences.std(ddof=1) / 1000**0.5
    expected = (differences.mean() - half, differences.mean() + half)
    assert bootstrap_interval(differences) == pytest.approx(expected, abs=0.1 * half)


def test_what_has_no_spread_has_no_interval_or_effect():
    assert bootstrap_interval(np.array([0.25])) is None
    assert bootstrap_interval(np.full(4, 0.25)) == (0.25, 0.25)
    assert effect_size(np.array([0.25])) is None
    assert effect_size(np.full(4, 0.25)) is None


def test_the_effect_is_the_mean_in_deviations():
    assert effect_size(np.array([0.0, 0.2, 0.4])) == pytest.approx(0.2 / 0.2)


@given(p_lists)
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    """A hypothesis is rejected when every set of hypotheses that holds it is, by Bonferroni."""
    places = range(len(p_values))
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in combinations(places, size)]
    expected = [
        max(min(1.0, len(chosen) * min(p_values[i] for i in chosen)) for chosen in sets if place in chosen)
        for place in places
    ]
    assert holm(p_values) == pytest.approx(expected)


def test_holm_of_nothing_is_nothing():
    assert holm([]) == []


@given(few)
def test_every_query_is_won_tied_or_lost(differences):
    wins, ties, losses = win_tie_loss(differences)
    assert (wins, ties, losses) == (sum(differences > 0), sum(differences == 0), sum(differences < 0))


def test_a_sum_in_another_order_is_a_tie():
    assert win_tie_loss(np.array([0.1 + 0.2 - 0.3, 0.0, 0.5])) == (1, 2, 0)


@pytest.mark.parametrize("differences", [[], [0.1, np.nan], [[[0.1]]]])
def test_what_is_no_list_of_numbers_is_refused(differences):
    for function in (randomisation_test, bootstrap_interval, effect_size, win_tie_loss):
        with pytest.raises(DataError, match="one or more finite numbers"):
            function(np.array(differences))
