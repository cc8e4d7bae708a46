"""Which weight a merged model has: what held-out pairs say of several."""

from collections.abc import Mapping
from statistics import mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# Of what validation finds of a source, the figure that counts; ties of recall are many.
_COUNTED = ("ndcg@10", "spearman")


def best_weight(found: Mapping[float, Mapping[str, float]]) -> float:
    """The weight with the highest mean over sources, of equal ones the smallest.

    found: by weight, figures by source and metric, as `<source>/ndcg@10`.
    """
    return min(found, key=lambda weight: (-counted_mean(found[weight]), weight))


def counted_mean(figures: Mapping[str, float]) -> float:
    """The mean over sources of nDCG@10, or of Spearman's correlation where a source has labels; 0 without sources."""
    counted = [value for name, value in figures.items() if name.rpartition("/")[2] in _COUNTED]
    return mean(counted) if counted else 0.0


def merging_table(found: Mapping[float, Mapping[str, float]], chosen: float | None) -> "pd.DataFrame":
    """A row per weight: the figures of the held-out pairs, their mean, and whether it was chosen.

    Where one weight was given and nothing measured, the row has the weight alone; without a weight there is none.
    """
    import pandas as pd

    weights = sorted(found) or ([] if chosen is None else [chosen])
    rows = [
        {"weight": weight, **found.get(weight, {}), "mean": counted_mean(found[weight]) if found else None,
         "chosen": weight == chosen}
        for weight in weights
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=None if rows else ["weight", "mean", "chosen"])
