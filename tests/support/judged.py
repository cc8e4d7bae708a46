"""A version that passes every gate, for tests that break one thing of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from ruri_kedro.registry.evidence.evidence import Evidence, Trial
from ruri_kedro.registry.promotion.rules import Rules, parse_rules

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = {
    "questions": {"category": "retrieval", "digest": "q"},
    "faq": {"category": "retrieval", "digest": "f"},
    "sts": {"category": "sts", "digest": "s"},
}


def parameters(**changed) -> dict:
    """The shipped block `promotion`, for the recipe `tiny`."""
    text = (REPOSITORY / "conf/base/parameters_promotion.yml").read_text("utf-8")
    text = text.replace("${globals:recipe}", "tiny").replace("${oc.select:_must_beat_baseline.tiny,true}", "true")
    return yaml.safe_load(text)["promotion"] | {"resamples": 500} | changed


def rules(**changed) -> Rules:
    return parse_rules(parameters(**changed))


def scores(level=0.5, sts=0.7, queries=60, seed=0) -> dict:
    """Scores per query around `level` for two retrieval tasks, and one score of STS; alike for a seed."""
    rng = np.random.default_rng(seed)
    drawn = {task: np.clip(level + rng.normal(0, 0.1, queries), 0, 1) for task in ("questions", "faq")}
    found = {(task, "ndcg@10"): {f"q{n}": float(v) for n, v in enumerate(values)} for task, values in drawn.items()}
    return found | {("sts", "spearman"): {"": sts}}


def good(**changed) -> Evidence:
    """Evidence that passes every gate where there is no champion."""
    made = Evidence(
        kind="embedder",
        scores=scores(),
        tests=TESTS,
        training={"sources": {"news": {"licence": "Apache-2.0", "examples": {"pretraining": 100}}}},
        contamination={"tests": list(TESTS), "stages": {"pretraining": {"examples": 100, "leaked": 0}}},
        probe=({"query": "q", "passage": "p", "score": 0.5},),
        card="# tiny",
        signature=True,
        manifest=True,
        size=10_000_000,
        trial=Trial(deviation=0.0, latency_ms=5.0),
    )
    made = replace(made, **changed)
    return made if "baselines" in changed else replace(made, baselines={"bm25": below(made.scores or {})})


def below(found: dict) -> dict:
    """Scores of a baseline that is worse on each query."""
    return {measure: {query: score - 0.2 for query, score in queries.items()} for measure, queries in found.items()}


def better(**changed) -> Evidence:
    """Evidence of a model that is better than `good` on each query."""
    return good(**{"scores": scores(level=0.6, sts=0.72)} | changed)
