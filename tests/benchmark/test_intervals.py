"""The figures of a model with their 95% intervals."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from ruri_kedro.benchmark.comparing.intervals import bounds, figures

RNG = np.random.default_rng(5)
SCORES = {
    ("qa", "ndcg@10"): {f"q{n}": float(value) for n, value in enumerate(RNG.beta(3, 1, 120))},
    ("qa", "mrr@10"): dict.fromkeys("abc", 0.5),
    ("intents", "macro_f1"): {"": 0.8},
    ("intents", "accuracy"): {str(n): float(value) for n, value in enumerate(RNG.random(90) < 0.75)},
    ("one", "spearman"): {"0": 0.3},
}


def test_main_metrics_have_bootstrap_intervals_and_those_of_whole_tasks_have_none():
    found = {(figure.task, figure.metric): figure for figure in figures(SCORES)}
    assert list(found) == [("qa", "ndcg@10"), ("intents", "macro_f1"), ("intents", "accuracy"), ("one", "spearman")]
    values = list(SCORES["qa", "ndcg@10"].values())
    expected = bootstrap((values,), np.mean, method="BCa", n_resamples=10_000, rng=np.random.default_rng(9))
    assert found["qa", "ndcg@10"].mean == pytest.approx(np.mean(values))
    assert found["qa", "ndcg@10"].interval == pytest.approx(tuple(expected.confidence_interval), abs=0.002)
    assert found["intents", "macro_f1"].interval is None and found["one", "spearman"].interval is None


def test_bounds_are_named_behind_their_metric():
    found = bounds(SCORES)
    assert found.keys() == {
        f"{name}_ci95_{side}" for name in ("qa/ndcg@10", "intents/accuracy") for side in ("low", "high")
    }
    assert found["intents/accuracy_ci95_low"] < np.mean(list(SCORES["intents", "accuracy"].values()))
