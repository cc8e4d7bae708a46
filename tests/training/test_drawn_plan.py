"""Plans that draw one example of an anchor, and those that end after a number of examples."""

from collections import Counter

import numpy as np
import pytest
import torch
from tiny import PROMPTS, tiny_encoder
from train_tables import examples_table, stage, tables

from ruri_kedro.errors import RecipeError
from ruri_kedro.training.objectives import rows_loss
from ruri_kedro.training.plan import plan_batches, stored_plan
from ruri_kedro.training.run import train_embedder


def premises():
    """Premises with 1 to 3 entailments (a row each), which have the same 0 to 4 contradictions; texts are numbers."""
    rows = []
    for premise in range(30):
        contradictions = [1000 + premise * 10 + k for k in range(premise % 5)]
        rows += [
            [premise, 500 + premise * 10 + k, *contradictions, *[-1] * (4 - len(contradictions))]
            for k in range(premise % 3 + 1)
        ]
    return np.zeros(len(rows), np.int64), np.array(rows)


def drawn(epochs=1, size=5, seed=0, max_examples=None):
    return plan_batches(*premises(), size, epochs, True, seed, max_examples=max_examples, draw_one=True)


def test_each_premise_is_seen_once_in_an_epoch_with_one_of_each():
    _, texts = premises()
    plan = drawn()
    assert len(plan) == 6 and len(plan.dropped) == 0
    for batch in plan:
        columns = batch.columns(texts, 2)
        assert columns.shape == (5, 3)
        for row, (premise, entailment, contradiction) in zip(batch.rows, columns.tolist(), strict=True):
            assert [premise, entailment] == texts[row, :2].tolist()
            assert contradiction == -1 if premise % 5 == 0 else contradiction in texts[row, 2:]
    assert sorted(texts[batch.rows, 0].tolist() for batch in plan) and len({*texts[plan.rows, 0].tolist()}) == 30


def test_everything_is_drawn_in_the_end_and_evenly():
    _, texts = premises()
    plan = drawn(epochs=400)
    seen = Counter((row, negative) for batch in plan for row, negative in zip(batch.rows, batch.negatives, strict=True))
    assert {row for row, _ in seen} == set(range(len(texts)))
    of_one = [count for (row, _), count in seen.items() if texts[row, 0] == 14]  # 3 entailments x 4 contradictions
    assert len(of_one) == 12 and max(of_one) < 2.5 * min(of_one)


def test_a_drawn_plan_is_that_of_its_seed_also_from_disk(tmp_path):
    plans = [drawn(3, seed=seed) for seed in (1, 1, 2)]
    assert plans[0].digest() == plans[1].digest() != plans[2].digest()
    stored = stored_plan(tmp_path / "plan", "key", lambda: plans[0])
    assert stored.digest() == plans[0].digest()
    assert [batch.negatives.tolist() for batch in stored] == [batch.negatives.tolist() for batch in plans[0]]


@pytest.mark.parametrize("count", [1, 5, 7, 60, 61, 64, 1000])
@pytest.mark.parametrize("draw_one", [False, True])
def test_a_plan_ends_before_it_has_more_examples(count, draw_one):
    groups, texts = premises()
    plan = plan_batches(groups, texts, 5, 1, True, 3, max_examples=count, draw_one=draw_one)
    assert len(plan) == count // 5 and sum(len(batch.rows) for batch in plan) <= count
    longer = plan_batches(groups, texts, 5, 200, True, 3, draw_one=draw_one)
    assert [batch.rows.tolist() for batch in plan] == [longer[step].rows.tolist() for step in range(len(plan))]


def test_the_loss_has_the_drawn_negatives_only(tmp_path, monkeypatch):
    first, passages = tables(tmp_path)
    ids = [[str(24 + (number + k) % 12) for k in range(number % 3)] for number in range(12)]
    rows = [row | {"negatives": ids[number]} for number, row in enumerate(first.iter_rows(["faq"]))]
    seen = []

    def spy(objective, rows, settings):
        seen.append(rows.mask.clone())
        return rows_loss(objective, rows, settings)

    monkeypatch.setattr("ruri_kedro.training.objectives.rows_loss", spy)
    used = stage(tmp_path, draw_one=True, max_examples=26)
    data = examples_table(tmp_path / "drawn", {"faq": rows}), passages
    steps = []
    train_embedder(tiny_encoder(), *data, PROMPTS, used, lambda step, metrics: steps.append(step))
    assert steps == [1, 2, 3, 4, 5, 6], "26 // 4"
    assert all(mask.shape == (4, 1) for mask in seen)
    assert int(torch.cat(seen[:3]).sum()) == 8, "of twelve rows four have no negative"


def test_drawing_and_distillation_exclude_each_other(tmp_path):
    teacher = {(f"q{i}", str(d)): float(d) for i in range(12) for d in range(36)}
    with pytest.raises(RecipeError, match=r"tuned\.draw_one: true, but distillation compares all negatives"):
        train_embedder(
            tiny_encoder(), *tables(tmp_path, "distillation"), PROMPTS, stage(tmp_path, draw_one=True),
            lambda *_: None, teacher,
        )  # fmt: skip


def test_fewer_examples_than_a_batch_are_refused(tmp_path):
    with pytest.raises(Exception, match="none of its batches is among the first max_examples"):
        train_embedder(
            tiny_encoder(), *tables(tmp_path), PROMPTS, stage(tmp_path, max_examples=3), lambda *_: None
        )  # fmt: skip
