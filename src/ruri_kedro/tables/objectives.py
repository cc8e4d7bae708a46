"""The values of the column `objective` of the examples table: what a source is trained for, by stage."""

UNTAUGHT = ("contrastive", "info_nce")
TAUGHT = ("distillation", "margin_mse")  # learn from the scores of a teacher
RERANKING = ("listwise",)

OBJECTIVES = {  # the first is the default
    "pretraining": UNTAUGHT,
    "reranking_stage1": RERANKING,
    "reranking_stage2": RERANKING,
    "finetuning": UNTAUGHT + TAUGHT,
}
