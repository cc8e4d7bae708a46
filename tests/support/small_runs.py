"""What is given to whole recipes, as `--params` would, so that they run on stand-in data and a small machine."""

from typing import Any

# Those of `kedro run`, in their order.
DEFAULT = ("data_engineering", "mining_pretraining", "adaptation", "pretraining", "mining_supervised", "reranking",
           "finetuning", "evaluation")  # fmt: skip

# Cut for every recipe: the stand-in data have some dozens of rows a source, and the machine is a small one.
SMALL: dict[str, Any] = {
    "bm25": {"threads": 1, "heap_mb": 256},
    "run": {"threads": 1, "device": "cpu", "held_out": {"rows": 8}},
    "encoding": {"chunk_tokens": 4096},
    "mining": {"supervised": {"negatives": {"reranking_stage1": 4, "reranking_stage2": 4, "finetuning": 3}}},
    "pretraining": {"batch_size": 8, "epochs": 1, "chunk_tokens": 4096, "keep_tokens": 4096},
    "reranking": {
        name: {"batch_size": 8, "epochs": 1, "chunk_tokens": 4096, "keep_tokens": 4096} for name in ("stage1", "stage2")
    },
    "finetuning": {
        "batch_size": 4, "epochs": 1, "chunk_tokens": 4096, "keep_tokens": 4096,
        "threshold": 0.0,  # an untrained teacher is sure of nothing
    },
    "evaluation": {"rerank_queries": 5, "chunk_tokens": 4096},
    "promotion": {"resamples": 200, "latency_ms": {"embedder": 60_000, "reranker": 60_000}},
}  # fmt: skip


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    both = first.keys() & second.keys()
    nested = {key for key in both if isinstance(first[key], dict) and isinstance(second[key], dict)}
    return first | second | {key: merged(first[key], second[key]) for key in nested}
