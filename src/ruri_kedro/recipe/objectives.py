"""What a stage can train for (the column `objective` of the examples table), and where its negatives can come from."""

from dataclasses import dataclass

UNTAUGHT = ("contrastive", "info_nce")
TAUGHT = ("distillation", "margin_mse")  # learn from the scores of a teacher
LABELLED = ("cosent", "angle")  # learn from the label of a pair: how alike its texts are
RERANKING = ("listwise",)
READING = ("masked_language_modelling",)  # learn from the texts of a pair alone

SEARCHED = ("bm25", "dense", "rrf")
STRATEGIES = ("given", "random", *SEARCHED)


@dataclass(frozen=True)
class Needs:
    """What a loss needs to teach anything."""

    in_batch: bool  # other rows' passages are negatives: a text may stand in a batch once only
    negatives: int  # of a row's own; one that has fewer teaches nothing


NEEDS = {
    "contrastive": Needs(in_batch=True, negatives=0),
    "info_nce": Needs(in_batch=True, negatives=0),
    # Pairs are compared with pairs, and no text with another pair's.
    "cosent": Needs(in_batch=False, negatives=0),
    "angle": Needs(in_batch=False, negatives=0),
    # Of two scores, scaled to their minimum and maximum, one is 0 and the other 1, whatever the student says.
    "distillation": Needs(in_batch=False, negatives=2),
    "margin_mse": Needs(in_batch=False, negatives=1),
    "listwise": Needs(in_batch=False, negatives=1),
    "masked_language_modelling": Needs(in_batch=False, negatives=0),
}

Group = tuple[str, str]  # source, objective


def group_name(group: Group) -> str:
    """What the examples of one source and one objective are called in reports."""
    return f"{group[0]} ({group[1]})"
