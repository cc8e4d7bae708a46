"""What a dry run says is what the training does, and it leaves nothing behind."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PROMPTS, tiny_encoder
from train_tables import examples_table, stage, tables

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.recipe.objectives import UNTAUGHT
from ruri_kedro.tables import SCHEMAS, write_table
from ruri_kedro.training.data import group_counts
from ruri_kedro.training.dry_run import (
    Cost,
    _sample,
    cost_table,
    sampled,
    training_cost,
)
from ruri_kedro.training.plan import Plan, plan_batches
from ruri_kedro.training.reading import read_for_plan
from ruri_kedro.training.run import train_embedder


def test_the_cost_of_a_training_is_what_it_then_costs(tmp_path, caplog):
    caplog.set_level("INFO")
    examples, passages = tables(tmp_path)

    def train(sample, used, on_step):
        train_embedder(tiny_encoder(), sample, passages, PROMPTS, used, on_step)

    used = stage(tmp_path, epochs=2, checkpoint_steps=100)
    before = sorted(tmp_path.rglob("*"))
    cost = training_cost(examples, passages, UNTAUGHT, used, True, train)
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"
    assert "in no batch" not in caplog.text, "which would be true of the sample only"

    seen = []
    train(examples, used, lambda step, metrics: seen.append(metrics))
    assert "in no batch" in caplog.text
    assert cost.steps == len(seen) == 12 and cost.examples == 24
    rows = [used.settings.batch_size / metrics["examples_per_second"] for metrics in seen]
    tokens = sum(metrics["tokens_per_second"] * seconds for metrics, seconds in zip(seen, rows, strict=True))
    assert cost.tokens == pytest.approx(tokens, rel=0.1)
    [kept] = [path for path in (tmp_path / "checkpoints/tuned").iterdir() if path.name.startswith("step-")]
    assert cost.checkpoint_gb * 2**30 == pytest.approx(sum(p.stat().st_size for p in kept.iterdir()), rel=0.05)
    assert cost.memory_gb > 0 and cost.seconds > 0 and 0 <= cost.padding_share < 0.5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(-1, 9)), min_size=1, max_size=80),
    st.integers(1, 9),
    st.booleans(),
)
def test_rows_of_planned_batches_are_tried(table, size, homogeneous):
    """Full ones of the group with the most rows in batches, and the start of one of each other."""
    groups, texts = np.array([row[0] for row in table]), np.array([[*row, row[0]] for row in table])
    plan = plan_batches(groups, texts, size, 2, homogeneous, 0)
    if not len(plan):
        return
    rows = sampled(plan)
    assert (np.diff(rows) > 0).all() and set(rows.tolist()) <= set(plan.rows.tolist())
    if homogeneous:
        assert set(groups[rows]) == {batch.group for batch in plan}
    assert any(set(batch.rows.tolist()) <= set(rows.tolist()) for batch in plan)


def test_the_rows_that_are_tried_are_those_of_the_table(tmp_path):
    first, _ = tables(tmp_path)
    held = list(first.iter_rows(["faq"]))
    held[3]["split"] = "validation"
    examples = examples_table(tmp_path / "held", {"faq": held, "nli": list(first.iter_rows(["nli"]))})
    train = [row for row in examples.iter_rows() if row["split"] == "train"]
    sample = write_table(tmp_path / "sample", examples.schema, _sample(examples, np.array([2, 3, 11, 22])))
    assert list(sample.iter_rows()) == [train[place] for place in (2, 3, 11, 22)]


def test_without_training_rows_there_is_no_cost(tmp_path):
    empty = write_table(tmp_path / "empty", SCHEMAS["examples"], {})
    with pytest.raises(TrainingError, match="no training rows"):
        training_cost(empty, None, UNTAUGHT, stage(tmp_path), True, None)


def test_counts_are_of_training_rows(tmp_path):
    examples, _ = tables(tmp_path, "distillation")
    assert group_counts(examples) == {("faq", "distillation"): 12, ("nli", "distillation"): 12}


def alike(tmp_path, **changed):
    """Examples of a source that fills batches and of one whose rows share a text, and their passages."""
    first, passages = tables(tmp_path)
    rows = {name: list(first.iter_rows([name])) for name in ("faq", "nli")}
    rows["nli"] = [row | {"positive": "35"} | changed for row in rows["nli"]]
    rows["nli"][0]["negatives"] = []
    return examples_table(tmp_path / "alike", rows), passages


METRICS = {"tokens_per_second": 9.0, "examples_per_second": 3.0, "padding_share": 0.1, "memory_gb": 1.0}


def probe(examples, stage, on_step):
    """In place of a training."""
    on_step(1, METRICS)


@pytest.mark.parametrize("batch_size", [1, 4, 12, 512])
@pytest.mark.parametrize("homogeneous", [True, False])
def test_the_plan_of_a_dry_run_is_that_of_the_training(tmp_path, batch_size, homogeneous):
    class Begun(Exception):
        pass

    def begin(*_):
        raise Begun

    examples, passages = alike(tmp_path)
    used = stage(tmp_path, batch_size=batch_size, homogeneous=homogeneous, epochs=2)
    cost = training_cost(examples, passages, UNTAUGHT, used, homogeneous, probe)
    with pytest.raises(Begun):
        train_embedder(tiny_encoder(), examples, passages, PROMPTS, used, begin)
    told = json.loads((tmp_path / "checkpoints/tuned/steps.json").read_text("utf-8"))
    planned = used.batches(homogeneous).plan(read_for_plan(examples, passages))
    assert planned.digest() == Plan.open(tmp_path / "checkpoints/tuned/plan").digest()
    assert cost.steps == told["steps"] == len(planned) > 0
    steps = ", ".join(f"{share['source']} {share['steps']}" for share in told["sources"])
    assert cost.notes[0].startswith(f"steps by source: {steps};")


def test_what_will_not_be_learnt_is_named(tmp_path):
    examples, passages = alike(tmp_path, negatives=[])
    with pytest.raises(RecipeError, match=r"would learn nothing from 1 of its 2 sources:\n  nli \(contrastive\)"):
        training_cost(examples, passages, UNTAUGHT, stage(tmp_path), True, probe)
    allowing = replace(stage(tmp_path), allow_untrained=True)
    cost = training_cost(examples, passages, UNTAUGHT, allowing, True, probe)
    assert cost.steps == 3 and "nothing is learnt from nli (contrastive)" in cost.notes


def test_a_mean_of_more_checkpoints_than_there_will_be_is_refused_before_a_step(tmp_path):
    examples, passages = tables(tmp_path)
    used = stage(tmp_path, checkpoint_steps=4, averaging={"last": 3})
    with pytest.raises(RecipeError, match=r"tuned\.averaging\.last: 3, but there are 2 checkpoints in 6 steps"):
        training_cost(examples, passages, UNTAUGHT, used, True, lambda *_: pytest.fail("no step is tried"))


def test_the_table_warns_of_a_full_disk(tmp_path):
    cost = Cost("pretraining", 1000, 10, 54_321, 0.1, 4000.0, 2.5, 1.5, 100.0)
    text = cost_table([cost], tmp_path)
    assert "54,321" in text and "1 h 6 min" in text and "4.50 GiB" in text and "too little" not in text
    small = Cost("pretraining", 1000, 10, 54_321, 0.1, 4000.0, 2.5, 1.5, 4.0)
    assert "too little: set run.checkpoints" in cost_table([small], tmp_path)
