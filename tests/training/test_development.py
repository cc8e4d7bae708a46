"""Evaluations while a training goes on: when they are made, and that the best weights are kept through kills."""

import json

import numpy as np
import pytest
import torch
from tiny import PROMPTS, TEXTS, tiny_encoder
from train_tables import FINETUNING, stage, tables

from ruri_kedro.benchmark.metrics import cosines, spearman
from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.models.forward import encode
from ruri_kedro.recipe.parse import parse
from ruri_kedro.training.development import Development, DevelopmentPairs
from ruri_kedro.training.run import train_embedder
from ruri_kedro.training.settings import DevelopmentSettings, FinetuningSettings

PAIRS = DevelopmentPairs(TEXTS[:20], TEXTS[12:32], [float(i * 7 % 5) for i in range(20)])
KEPT = {"task": "pairs", "evaluations": 4, "items": None, "keep": "best"}


class Killed(Exception):
    """Stands for a process that ends behind a step."""


def train(folder, kill_at=None, keep="best", pairs=PAIRS, **settings):
    seen = {}

    def on_step(step, metrics):
        seen[step] = metrics
        if step == kill_at:
            raise Killed

    used = stage(folder, epochs=2, learning_rate=3e-3, development=KEPT | {"keep": keep}, **settings)
    model = train_embedder(
        tiny_encoder(dropout=0.1), *tables(folder), PROMPTS, used, on_step, training_head="mlp", development=pairs
    )
    report = folder / "checkpoints/tuned/development.json"
    return model, seen, json.loads(report.read_text("utf-8"))


@pytest.mark.parametrize(("steps", "count"), [(12, 4), (2048, 64), (100, 64), (5, 64), (1, 1)])
def test_evaluations_are_even_and_include_the_ends(steps, count):
    settings = DevelopmentSettings("pairs", count, None, "best")
    due = [step for step in range(steps + 1) if Development(settings, steps, None).due(step)]
    assert due[0] == 0 and due[-1] == steps and len(due) == min(count, steps) + 1
    gaps = np.diff(due)
    assert gaps.max() - gaps.min() <= 1


def test_the_score_is_that_of_the_benchmark_and_the_best_step_is_the_result(tmp_path):
    model, seen, report = train(tmp_path)
    assert [step for step, _ in report["scores"]] == [0, 3, 6, 9, 12]
    scores = {
        step: metrics["development/spearman"] for step, metrics in seen.items() if "development/spearman" in metrics
    }
    assert [[step, score] for step, score in sorted(scores.items())] == report["scores"]
    best = max(scores.values())
    assert report["best"] == best and scores[report["best_step"]] == best
    assert seen[12]["development/best_step"] == report["best_step"] and seen[12]["development/best"] == best
    vectors = (encode(model, texts, PROMPTS["query"], 32, 1000) for texts in (PAIRS.texts1, PAIRS.texts2))
    assert spearman(cosines(*vectors), PAIRS.scores) == pytest.approx(best, abs=1e-9), "these are the best weights"


@pytest.mark.long
@pytest.mark.parametrize("kills", [(1,), (4, 5), (7,), (9, 11), (12,)])
def test_a_killed_training_keeps_the_same_best_weights(tmp_path, whole, kills):
    for step in kills:
        with pytest.raises(Killed):
            train(tmp_path, kill_at=step)
    model, _, report = train(tmp_path)
    assert report == whole[1]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in whole[0].items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    model, _, report = train(tmp_path_factory.mktemp("whole"))
    assert report["best_step"] < 12, "else the best weights would be the last"
    return model.state_dict(), report


def test_the_last_weights_can_be_the_result(tmp_path, whole):
    model, _, report = train(tmp_path, keep="last")
    assert report == whole[1], "evaluations change nothing"
    assert any(not torch.equal(value, model.state_dict()[name]) for name, value in whole[0].items())


def test_other_development_pairs_are_another_training(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, kill_at=5)
    with pytest.raises(TrainingError, match="development"):
        train(tmp_path, pairs=PAIRS.drawn(10, 1))


def test_pairs_are_drawn_by_the_seed():
    first, again, other = (PAIRS.drawn(10, seed) for seed in (1, 1, 2))
    assert first == again != other and len(first.scores) == 10
    assert set(zip(first.texts1, first.texts2, first.scores, strict=True)) <= set(
        zip(PAIRS.texts1, PAIRS.texts2, PAIRS.scores, strict=True)
    )
    assert PAIRS.drawn(100, 1) is PAIRS and PAIRS.drawn(None, 1) is PAIRS


def test_the_best_and_a_mean_exclude_each_other():
    with pytest.raises(RecipeError, match=r"finetuning\.averaging: .* exclude each other"):
        parse(FinetuningSettings, FINETUNING | {"averaging": {"last": 2}, "development": KEPT}, "finetuning")
