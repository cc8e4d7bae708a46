"""Several rankings as one."""

from collections.abc import Sequence
from math import fsum

_DIGITS = 12


def reciprocal_rank_fusion(rankings: Sequence[Sequence[str]], k: int) -> list[tuple[str, float]]:
    """All docids of the rankings with the sum of 1 / (k + rank) over the rankings that have them, best first.

    Ranks start at 1; each ranking names a docid once. Equal scores stand in order of docid. The constant `k` lowers
    the weight of the first ranks; the paper takes 60. Source: Cormack, Clarke and Büttcher, SIGIR 2009.
    """
    shares: dict[str, list[float]] = {}
    for ranking in rankings:
        for rank, docid in enumerate(ranking, start=1):
            shares.setdefault(docid, []).append(1 / (k + rank))
    fused = [(docid, fsum(parts)) for docid, parts in shares.items()]
    # Documents that tie by the formula (1/2 + 1/2 + 1/6 = 1/3 + 1/3 + 1/2) must tie here, whatever their last bit.
    return sorted(fused, key=lambda item: (-round(item[1], _DIGITS), item[0]))
