"""Batches: of one source, without repeated texts, every row once, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.training import plan as plan_module
from ruri_kedro.training.plan import plan_batches, stored_plan, token_share

rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(-1, 30)), min_size=1, max_size=80)


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 9), st.integers(1, 2), st.booleans(), st.integers(0, 5))
def test_batches_keep_the_rules(table, size, epochs, homogeneous, seed):
    groups = np.array([row[0] for row in table])
    texts = np.array([row[1:] for row in table])
    plan = plan_batches(groups, texts, size, epochs, homogeneous, seed)
    for batch in plan:
        present = [text for row in batch.rows for text in set(texts[row]) if text >= 0]
        assert len(present) == len(set(present))
        if homogeneous:
            assert set(groups[batch.rows]) == {batch.group}
            assert len(batch.rows) == min(size, (groups == batch.group).sum())
    used = Counter(row for batch in plan for row in batch.rows.tolist())
    assert used + Counter(plan.dropped["row"].tolist()) == dict.fromkeys(range(len(table)), epochs)
    assert sum(plan.dropped_by_group().values()) == len(plan.dropped)


def first_come_first_served(rows, texts, size):
    """Rows into batches one after the other; who repeats a text of the batch is the first to be asked for the next."""
    batches, waiting, coming = [], [], list(rows)
    while True:
        batch, seen, refused = [], set(), []
        queue = waiting + coming
        while queue and len(batch) < size:
            row = queue.pop(0)
            own = {text for text in texts[row].tolist() if text >= 0}
            (refused if seen & own else batch).append(row)
            seen |= own if row in batch else set()
        if len(batch) < size:
            return batches, batch, refused
        asked = len(batch) + len(refused)
        waiting, coming = refused + waiting[asked:], coming[max(asked - len(waiting), 0) :]
        batches.append(batch)


@settings(max_examples=100, deadline=None)
@given(rows, st.integers(1, 9), st.integers(0, 5))
def test_rows_go_into_batches_first_come_first_served(table, size, seed):
    texts = np.array([row[1:] for row in table])
    size = min(size, len(table))
    plan = plan_batches(np.zeros(len(table), dtype=np.int64), texts, size, 1, True, seed)
    order = np.random.default_rng(seed).permutation(len(table)).tolist()
    batches, incomplete, repeating = first_come_first_served(order, texts, size)
    assert sorted(batch.rows.tolist() for batch in plan) == sorted(batches)
    assert plan.dropped["row"][~plan.dropped["repeats"]].tolist() == incomplete
    assert plan.dropped["row"][plan.dropped["repeats"]].tolist() == repeating


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 9), st.integers(1, 4))
def test_with_more_rows_waiting_than_are_tried_the_rules_hold(table, size, tried):
    groups, texts = np.array([row[0] for row in table]), np.array([row[1:] for row in table])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "_TRIED", tried)
        plan = plan_batches(groups, texts, size, 1, True, 0)
    for batch in plan:
        present = [text for row in batch.rows for text in set(texts[row]) if text >= 0]
        assert len(present) == len(set(present))
    placed = [row for batch in plan for row in batch.rows.tolist()]
    assert sorted(placed + plan.dropped["row"].tolist()) == list(range(len(table)))


def test_a_stored_plan_is_opened_and_not_made_again(tmp_path):
    def make():
        made.append(1)
        return plan_batches(np.arange(50) % 3, np.arange(100).reshape(50, 2), 8, 2, True, 1)

    made = []
    first, again = (stored_plan(tmp_path / "plan", "key", make) for _ in range(2))
    assert len(made) == 1 and isinstance(again.rows, np.memmap)
    for plan in (first, again):
        assert [(b.group, b.rows.tolist()) for b in plan] == [(b.group, b.rows.tolist()) for b in make()]
        assert plan.dropped_by_group() == make().dropped_by_group() != {}
    made.clear()
    stored_plan(tmp_path / "plan", "another key", make)
    assert len(made) == 1


def test_a_plan_that_is_not_whole_is_made_again(tmp_path):
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "rows.npy").write_bytes(b"half")
    whole = plan_batches(np.zeros(4, dtype=np.int64), np.zeros((4, 0)), 2, 1, True, 1)
    plan = stored_plan(tmp_path / "plan", "key", lambda: whole)
    assert [batch.rows.tolist() for batch in plan] == [batch.rows.tolist() for batch in whole]
    assert len(plan) == 2


def test_the_same_seed_gives_the_same_plan_and_another_another():
    groups, texts = np.zeros(50, dtype=np.int64), np.arange(100).reshape(50, 2)
    plans = [plan_batches(groups, texts, 8, 2, True, seed) for seed in (1, 1, 2)]
    rows = [[batch.rows.tolist() for batch in plan] for plan in plans]
    assert rows[0] == rows[1] != rows[2]


def test_a_text_that_recurs_in_every_row_makes_no_batch():
    texts = np.column_stack([np.zeros(10, dtype=np.int64), np.arange(1, 11)])
    plan = plan_batches(np.zeros(10, dtype=np.int64), texts, 4, 1, True, 0)
    assert len(plan) == 0
    assert plan.dropped_by_group() == {0: 10}
    assert plan.dropped["repeats"].sum() == 9


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(1, 40))
def test_shares_keep_the_budget_and_the_order(lengths, budget):
    shares = token_share(lengths, budget)
    assert [i for share in shares for i in range(len(lengths))[share]] == list(range(len(lengths)))
    for share in shares:
        assert sum(lengths[share]) <= budget or len(lengths[share]) == 1
