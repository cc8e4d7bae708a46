"""Batches: of one source, without repeated texts, every row once, the same for the same seed."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.training.plan import plan_batches, token_share

rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(-1, 30)), min_size=1, max_size=80)


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 9), st.integers(1, 2), st.booleans(), st.integers(0, 5))
def test_batches_keep_the_rules(table, size, epochs, homogeneous, seed):
    groups = np.array([row[0] for row in table])
    texts = np.array([row[1:] for row in table])
    plan = plan_batches(groups, texts, size, epochs, homogeneous, seed)
    for batch in plan.batches:
        present = [text for row in batch.rows for text in set(texts[row]) if text >= 0]
        assert len(present) == len(set(present))
        if homogeneous:
            assert set(groups[batch.rows]) == {batch.group}
            assert len(batch.rows) == min(size, (groups == batch.group).sum())
    used = Counter(row for batch in plan.batches for row in batch.rows)
    assert max(used.values(), default=0) <= epochs
    assert sum(used.values()) + sum(plan.dropped.values()) == epochs * len(table)


def test_the_same_seed_gives_the_same_plan_and_another_another():
    groups, texts = np.zeros(50, dtype=np.int64), np.arange(100).reshape(50, 2)
    plans = [plan_batches(groups, texts, 8, 2, True, seed) for seed in (1, 1, 2)]
    rows = [[batch.rows.tolist() for batch in plan.batches] for plan in plans]
    assert rows[0] == rows[1] != rows[2]


def test_a_text_that_recurs_in_every_row_makes_no_batch():
    texts = np.column_stack([np.zeros(10, dtype=np.int64), np.arange(1, 11)])
    plan = plan_batches(np.zeros(10, dtype=np.int64), texts, 4, 1, True, 0)
    assert plan.batches == []
    assert plan.dropped == {0: 10}


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(1, 40))
def test_shares_keep_the_budget_and_the_order(lengths, budget):
    shares = token_share(lengths, budget)
    assert [i for share in shares for i in range(len(lengths))[share]] == list(range(len(lengths)))
    for share in shares:
        assert sum(lengths[share]) <= budget or len(lengths[share]) == 1
