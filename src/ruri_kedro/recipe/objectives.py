"""What a stage can train for, and where its negatives can come from."""

UNTAUGHT = ("contrastive", "info_nce")
TAUGHT = ("distillation", "margin_mse")  # learn from the scores of a teacher
RERANKING = ("listwise",)

SEARCHED = ("bm25", "dense", "rrf")
STRATEGIES = ("given", "random", *SEARCHED)
