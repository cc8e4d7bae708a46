"""How a source may take part in a stage: what it is trained for (the column `objective` of the examples table), and
where its negatives come from.
"""

from dataclasses import dataclass


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

UNTAUGHT = ("contrastive", "info_nce")
TAUGHT = ("distillation", "margin_mse")  # learn from the scores of a teacher
RERANKING = ("listwise",)

OBJECTIVES = {  # the first is the default
    "pretraining": UNTAUGHT,
    "reranking_stage1": RERANKING,
    "reranking_stage2": RERANKING,
    "finetuning": UNTAUGHT + TAUGHT,
}

SEARCHED = ("bm25", "dense", "rrf")
STRATEGIES = ("given", "random", *SEARCHED)
# No encoder is there before pre-training.
STAGE_STRATEGIES = {stage: STRATEGIES[:3] if stage == "pretraining" else STRATEGIES for stage in OBJECTIVES}


def group_name(group: Group) -> str:
    """What the examples of one source and one objective are called in reports."""
    return f"{group[0]} ({group[1]})"
