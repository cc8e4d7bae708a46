"""What a stage can train for (the column `objective` of the examples table), and where its negatives can come from."""

from dataclasses import dataclass

SEARCHED = ("bm25", "dense", "rrf")
STRATEGIES = ("given", "random", *SEARCHED)


@dataclass(frozen=True)
class Needs:
    """What a loss needs to teach anything."""

    learns_from: str  # passages: which is the positive; teacher: its scores; label: how alike the texts of a pair are;
    # texts: their own tokens
    in_batch: bool  # other rows' passages are negatives: a text may stand in a batch once only
    negatives: int  # of a row's own; one that has fewer teaches nothing
    reranks: bool = False  # a loss of cross-encoders


# A new loss on vectors is a row here and one in LOSSES of training/objectives.py.
NEEDS = {
    "contrastive": Needs("passages", in_batch=True, negatives=0),
    "info_nce": Needs("passages", in_batch=True, negatives=0),
    # Of two scores, scaled to their minimum and maximum, one is 0 and the other 1, whatever the student says.
    "distillation": Needs("teacher", in_batch=False, negatives=2),
    "margin_mse": Needs("teacher", in_batch=False, negatives=1),
    # Pairs are compared with pairs, and no text with another pair's.
    "cosent": Needs("label", in_batch=False, negatives=0),
    "angle": Needs("label", in_batch=False, negatives=0),
    "listwise": Needs("passages", in_batch=False, negatives=1, reranks=True),
    "masked_language_modelling": Needs("texts", in_batch=False, negatives=0),
}


def _learning_from(what: str, reranks: bool = False) -> tuple[str, ...]:
    return tuple(name for name, needs in NEEDS.items() if needs.learns_from == what and needs.reranks == reranks)


UNTAUGHT, TAUGHT, LABELLED = _learning_from("passages"), _learning_from("teacher"), _learning_from("label")
RERANKING, READING = _learning_from("passages", reranks=True), _learning_from("texts")

Group = tuple[str, str]  # source, objective


def group_name(group: Group) -> str:
    """What the examples of one source and one objective are called in reports."""
    return f"{group[0]} ({group[1]})"
