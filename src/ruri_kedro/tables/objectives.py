"""How a source may take part in a stage: what it is trained for (the column `objective` of the examples table), and
where its negatives come from.
"""

from collections.abc import Mapping
from types import NoneType

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
ROW_KEYS = {  # of a source's row for a stage, with the types of their values
    "negatives": str, "count": int, "window": Mapping, "fill": bool, "max_score_ratio": (float, int, NoneType),
    "objective": str, "shuffled_copy": bool, "share": (float, int),
    "mined": bool,
}  # fmt: skip
