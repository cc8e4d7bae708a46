"""How a source may take part in a stage: what it is trained for (the column `objective` of the examples table), and
where its negatives come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType

from ruri_kedro.recipe.objectives import RERANKING, SEARCHED, STRATEGIES, TAUGHT, UNTAUGHT

__all__ = [
    "NEEDS", "RERANKING", "ROW_KEYS", "SEARCHED", "STRATEGIES", "TAUGHT", "UNTAUGHT", "Group", "Needs", "group_name",
]  # fmt: skip


@dataclass(frozen=True)
class Needs:
    """What a loss needs to teach anything."""

    in_batch: bool  # other rows' passages are negatives: a text may stand in a batch once only
    negatives: int  # of a row's own; one that has fewer teaches nothing


NEEDS = {
    "contrastive": Needs(in_batch=True, negatives=0),
    "info_nce": Needs(in_batch=True, negatives=0),
    # Of two scores, scaled to their minimum and maximum, one is 0 and the other 1, whatever the student says.
    "distillation": Needs(in_batch=False, negatives=2),
    "margin_mse": Needs(in_batch=False, negatives=1),
    "listwise": Needs(in_batch=False, negatives=1),
}

Group = tuple[str, str]  # source, objective

ROW_KEYS = {  # of a source's row for a stage, with the types of their values
    "negatives": str, "count": int, "window": Mapping, "fill": bool, "max_score_ratio": (float, int, NoneType),
    "objective": str, "shuffled_copy": bool, "share": (float, int),
    "mined": bool,
}  # fmt: skip


def group_name(group: Group) -> str:
    """What the examples of one source and one objective are called in reports."""
    return f"{group[0]} ({group[1]})"
