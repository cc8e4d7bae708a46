"""Several rankings as one."""

from collections.abc import Sequence
from math import fsum


def reciprocal_rank_fusion(rankings: Sequence[Sequence[str]], k: int) -> list[tuple[str, float]]:
    """All docids of the rankings with the sum of 1 / (k + rank) over the rankings that have them, best first.

    Ranks start at 1; each ranking names a docid once. Equal scores stand in order of docid. The constant `k` lowers
    the weight of the first ranks; the paper takes 60. Source: Cormack, Clarke and Büttcher, SIGIR 2009.
    """
    shares: dict[str, list[float]] = {}
    for ranking in rankings:
        for rank, docid in enumerate(ranking, start=1):
            shares.setdefault(docid, []).append(1 / (k + rank))
    # fsum: the score must not depend on the order of the rankings, or documents that tie would not.
    fused = [(docid, fsum(parts)) for docid, parts in shares.items()]
    return sorted(fused, key=lambda item: (-item[1], item[0]))
