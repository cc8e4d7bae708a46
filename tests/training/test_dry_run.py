"""What a dry run says is what the training does, and it leaves nothing behind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PROMPTS, tiny_encoder
from train_tables import stage, tables

from ruri_kedro.errors import TrainingError
from ruri_kedro.tables import SCHEMAS, write_table
from ruri_kedro.training.data import group_counts
from ruri_kedro.training.dry_run import (
    Cost,
    cost_table,
    duration,
    sample_sizes,
    steps_of,
    training_cost,
)
from ruri_kedro.training.plan import plan_batches
from ruri_kedro.training.run import train_embedder


def test_the_cost_of_a_training_is_what_it_then_costs(tmp_path, caplog):
    caplog.set_level("INFO")
    examples, passages = tables(tmp_path)

    def train(sample, used, on_step):
        train_embedder(tiny_encoder(), sample, passages, PROMPTS, used, on_step)

    used = stage(tmp_path, epochs=2, checkpoint_steps=100)
    before = sorted(tmp_path.rglob("*"))
    cost = training_cost(examples, used, True, train)
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"
    assert "in no batch" not in caplog.text, "which would be true of the sample only"

    seen = []
    train(examples, used, lambda step, metrics: seen.append(metrics))
    assert "in no batch" in caplog.text
    assert cost.steps == len(seen) == 12 and cost.examples == 24
    rows = [used.settings["batch_size"] / metrics["examples_per_second"] for metrics in seen]
    tokens = sum(metrics["tokens_per_second"] * seconds for metrics, seconds in zip(seen, rows, strict=True))
    assert cost.tokens == pytest.approx(tokens, rel=0.1)
    [kept] = [path for path in (tmp_path / "checkpoints/tuned").iterdir() if path.name.startswith("step-")]
    assert cost.checkpoint_gb * 2**30 == pytest.approx(sum(p.stat().st_size for p in kept.iterdir()), rel=0.05)
    assert cost.memory_gb > 0 and cost.seconds > 0 and 0 <= cost.padding_share < 0.5


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=5),
    st.integers(1, 20),
    st.booleans(),
)
def test_steps_are_those_of_the_plan(sizes, batch, homogeneous):
    """Where no text repeats."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    texts = np.arange(3 * len(groups)).reshape(-1, 3)
    plan = plan_batches(groups, texts, batch, 1, homogeneous, 0)
    counts = {(f"s{number}", "contrastive"): size for number, size in enumerate(sizes)}
    assert steps_of(counts, batch, homogeneous) == len(plan)


def test_full_batches_of_the_largest_source_and_some_rows_of_the_others_are_tried():
    counts = {("a", "x"): 90_000, ("b", "x"): 5_000, ("c", "x"): 10}
    assert sample_sizes(counts, 8192, True) == {("a", "x"): 24_576, ("b", "x"): 256, ("c", "x"): 10}
    mixed = sample_sizes(counts, 512, False)
    assert 1536 <= sum(mixed.values()) <= 1539 and min(mixed.values()) >= 1


def test_counts_are_of_training_rows(tmp_path):
    examples, _ = tables(tmp_path, "distillation")
    assert group_counts(examples) == {("faq", "distillation"): 12, ("nli", "distillation"): 12}
    empty = write_table(tmp_path / "empty", SCHEMAS["examples"], {})
    with pytest.raises(TrainingError, match="no training rows"):
        training_cost(empty, stage(tmp_path), True, None)


def test_the_table_warns_of_a_full_disk(tmp_path):
    cost = Cost("pretraining", 1000, 10, 54_321, 0.1, 4000.0, 2.5, 1.5, 100.0)
    text = cost_table([cost], tmp_path)
    assert "54,321" in text and "1 h 6 min" in text and "4.50 GiB" in text and "too little" not in text
    small = Cost("pretraining", 1000, 10, 54_321, 0.1, 4000.0, 2.5, 1.5, 4.0)
    assert "too little: set run.checkpoints" in cost_table([small], tmp_path)


@pytest.mark.parametrize(("seconds", "text"), [(11.6, "12 s"), (245, "4 min 5 s"), (12_000, "3 h 20 min")])
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text
