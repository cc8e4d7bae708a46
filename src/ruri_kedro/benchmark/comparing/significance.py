"""Paired statistics of two systems on the same queries, from the differences of their scores per query.

Smucker, Allan and Carterette (2007), "A Comparison of Statistical Significance Tests for Information Retrieval
Evaluation", is why the test is a randomisation test.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

import numpy as np

from ruri_kedro.errors import DataError

RESAMPLES = 10_000
_BLOCK = 2**22  # numbers held at once: 32 MiB
ROUNDING = 1e-9  # differences below it are sums in another order, not differences


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation over seeds (n - 1 in the denominator); no deviation of a single one."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def randomisation_test(differences: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Two-sided p-values of Fisher's paired randomisation test of a mean difference of 0.

    `differences` is (n,) for one pair of systems or (m, n) for m pairs; the result is () or (m,). Where the systems
    are alike, each query's difference could as well have the other sign. With up to log2(`resamples`) queries every
    assignment of signs is tried and p is exact; beyond it is (hits + 1) / (`resamples` + 1) over that many random
    ones, which are the same for all rows. Raises DataError where there is no query
    or a number is not finite, as do the functions below.
    """
    values = np.atleast_2d(_checked(differences))
    totals = values.sum(axis=1)
    least = np.abs(totals) - ROUNDING * np.abs(values).sum(axis=1)
    hits = np.zeros(len(values), dtype=np.int64)
    exact = 2 ** values.shape[1] <= resamples
    for flipped in _every_sign(values.shape) if exact else _random_signs(values.shape, resamples, seed):
        hits += (np.abs(totals - 2 * (flipped @ values.T)) >= least).sum(axis=0)
    p = hits / 2 ** values.shape[1] if exact else (hits + 1) / (resamples + 1)
    return p.reshape(np.shape(differences)[:-1])


def _every_sign(shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """All 2^n patterns of flipped queries, as blocks (rows, n) of 0 and 1."""
    patterns = 2 ** shape[1]
    rows = max(1, _BLOCK // max(shape))
    for start in range(0, patterns, rows):
        numbers = np.arange(start, min(start + rows, patterns))
        yield ((numbers[:, None] >> np.arange(shape[1])) & 1).astype(np.float64)


def _random_signs(shape: tuple[int, int], resamples: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // max(shape))
    for start in range(0, resamples, rows):
        size = (min(rows, resamples - start), (shape[1] + 7) // 8)
        bits = np.unpackbits(rng.integers(0, 256, size, dtype=np.uint8), axis=1, count=shape[1])
        yield bits.astype(np.float64)


def bootstrap_interval(
    differences: np.ndarray, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Bias-corrected and accelerated bootstrap interval of the mean of `differences` (n,), by SciPy.

    None for a single query: it says nothing about others.
    """
    from scipy.stats import bootstrap

    values = _checked(differences)
    if len(values) < 2:
        return None
    if np.ptp(values) <= ROUNDING:
        return float(values.mean()), float(values.mean())
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="BCa",
        batch=max(1, _BLOCK // len(values)),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being looked at together (Holm 1979), in the given order.

    Rejecting those up to alpha keeps the chance of one or more false findings at alpha, however they depend on each
    other.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def effect_size(differences: np.ndarray) -> float | None:
    """Mean of the differences (n,) over their standard deviation (Cohen's d of paired scores).

    None where they do not vary: a single query, or one difference for all.
    """
    values = _checked(differences)
    if len(values) < 2 or np.ptp(values) <= ROUNDING:
        return None
    return float(values.mean() / values.std(ddof=1))


def win_tie_loss(differences: np.ndarray) -> tuple[int, int, int]:
    """Numbers of queries with a difference above, at and below 0."""
    values = _checked(differences)
    wins, losses = int((values > ROUNDING).sum()), int((values < -ROUNDING).sum())
    return wins, len(values) - wins - losses, losses


def _checked(differences: np.ndarray) -> np.ndarray:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim not in (1, 2) or not values.shape[-1] or not np.isfinite(values).all():
        raise DataError(f"differences of shape {values.shape}: one or more finite numbers per pair are needed.")
    return values
