"""Batches: of one source, without repeated texts, every row once, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.training import plan as plan_module
from ruri_kedro.training.plan import plan_batches, stored_plan, token_share

# Source, anchor, positive, one negative.
_texts = (st.integers(0, 30), st.integers(0, 30), st.integers(-1, 30))
rows = st.lists(st.tuples(st.integers(0, 2), *_texts), min_size=1, max_size=80)


def repeats(texts, members):
    """Whether a text stands in two of the rows."""
    present = [text for row in members for text in set(texts[row].tolist()) if text >= 0]
    return len(present) != len(set(present))


@settings(max_examples=100, deadline=None)
@given(rows, st.integers(1, 9), st.integers(1, 2), st.booleans(), st.integers(0, 5), st.tuples(*[st.booleans()] * 3))
def test_batches_keep_the_rules(table, size, epochs, homogeneous, seed, distinct):
    groups = np.array([row[0] for row in table])
    texts = np.array([row[1:] for row in table])
    plan = plan_batches(groups, texts, size, epochs, homogeneous, seed, distinct)
    sizes = {}
    for batch in plan:
        apart = distinct[batch.group] if homogeneous else any(distinct)
        assert not (apart and repeats(texts, batch.rows))
        members = np.flatnonzero(groups == batch.group) if homogeneous else np.arange(len(groups))
        if homogeneous:
            assert set(groups[batch.rows]) == {batch.group}
        if not apart or not repeats(texts, members):
            assert len(batch.rows) == min(size, len(members)) or size == 1
        assert len(batch.rows) <= min(size, len(members))
        sizes.setdefault(batch.group, set()).add(len(batch.rows))
    assert all(len(found) <= epochs for found in sizes.values())
    used = Counter(row for batch in plan for row in batch.rows.tolist())
    assert used + Counter(plan.dropped["row"].tolist()) == dict.fromkeys(range(len(table)), epochs)
    assert sum(plan.dropped_by_group().values()) == len(plan.dropped)


@settings(max_examples=100, deadline=None)
@given(rows, st.integers(1, 9), st.integers(0, 5))
def test_half_of_the_rows_of_a_source_are_in_a_batch_or_teach_nothing(table, size, seed):
    """However often texts repeat: where they do, batches are smaller."""
    texts = np.array([row[1:] for row in table])
    plan = plan_batches(np.zeros(len(table), np.int64), texts, size, 1, True, seed)
    for row in plan.dropped["row"] if 2 * len(plan.rows) < len(table) else []:
        assert texts[row, 2] == -1
    if len(plan) and len(plan[0].rows) > 1:
        assert 2 * len(plan.rows) >= len(table)


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
@given(rows, st.integers(2, 9), st.integers(0, 5))
def test_rows_go_into_batches_first_come_first_served(table, size, seed):
    texts = np.array([row[1:] for row in table])
    plan = plan_batches(np.zeros(len(table), dtype=np.int64), texts, size, 1, True, seed)
    order = np.random.default_rng(seed).permutation(len(table)).tolist()
    size = min(size, len(table))
    if len(plan) == 0 or len(plan[0].rows) == 1:  # rows alone, each with a negative
        assert sorted(plan.rows.tolist()) == [row for row in range(len(table)) if texts[row, 2] >= 0]
        return
    size = len(plan[0].rows)
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
    assert not any(repeats(texts, batch.rows) for batch in plan)
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


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 9), st.booleans())
def test_rows_of_a_topic_stand_one_behind_the_other(topics, size, homogeneous):
    topics = np.array(topics)
    groups, texts = topics % 2, np.arange(2 * len(topics)).reshape(-1, 2)
    plans = [plan_batches(groups, texts, size, 2, homogeneous, 0, topics=of) for of in (topics, None)]
    by_topic, shuffled = (sorted(plan.rows.tolist() + plan.dropped["row"].tolist()) for plan in plans)
    assert by_topic == shuffled
    [plan, _] = plans
    epochs = np.split(plan.rows, [len(plan.rows) // 2])
    for epoch in epochs:
        for group in (0, 1):
            found = topics[epoch[groups[epoch] == group]]
            changes = np.count_nonzero(found[1:] != found[:-1])
            assert not len(found) or changes == len(np.unique(found)) - 1


def test_the_order_of_topics_is_drawn_for_each_epoch():
    topics, texts = np.arange(40) // 4, np.arange(80).reshape(40, 2)
    plan = plan_batches(np.zeros(40, np.int64), texts, 8, 2, True, 0, topics=topics)
    first, second = np.split(topics[plan.rows], 2)
    assert sorted(first) == sorted(second) and first.tolist() != second.tolist()
    assert {len(set(topics[batch.rows])) for batch in plan} == {2}


SAME = np.zeros(60, dtype=np.int64)  # the group of every row


def test_rows_that_share_one_text_are_batches_of_one_if_they_have_negatives():
    texts = np.column_stack([np.zeros(60, dtype=np.int64), np.arange(1, 61), np.where(np.arange(60) < 40, 99, -1)])
    plan = plan_batches(SAME, texts, 16, 1, True, 0)
    assert [len(batch.rows) for batch in plan] == [1] * 40 and plan.rows.max() == 39
    assert plan.dropped_by_group() == {0: 20} and plan.dropped["repeats"].all()


def test_questions_with_few_answers_make_batches_of_as_many():
    """60 questions with 3 answers in a batch of 16: none of 16, but 20 of 3."""
    texts = np.column_stack([np.arange(60), 100 + np.arange(60) % 3])
    plan = plan_batches(SAME, texts, 16, 2, True, 0)
    assert [len(batch.rows) for batch in plan] == [3] * 40 and len(plan.dropped) == 0


def test_a_source_below_a_batch_whose_texts_repeat_loses_only_what_repeats():
    texts = np.column_stack([np.arange(60), [100, *range(100, 159)]])
    plan = plan_batches(SAME, texts, 512, 1, True, 0)
    assert [len(batch.rows) for batch in plan] == [59] and len(plan.dropped) == 1


def test_texts_repeat_where_other_rows_are_no_negatives():
    texts = np.column_stack([np.arange(60), np.full((60, 4), 100)])
    groups = np.arange(60) % 2
    plan = plan_batches(groups, texts, 8, 1, True, 0, [False, True])
    assert sorted(len(batch.rows) for batch in plan if batch.group == 0) == [8, 8, 8]
    assert {len(batch.rows) for batch in plan if batch.group == 1} == {1}


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(1, 40))
def test_shares_keep_the_budget_and_the_order(lengths, budget):
    shares = token_share(lengths, budget)
    assert [i for share in shares for i in range(len(lengths))[share]] == list(range(len(lengths)))
    for share in shares:
        assert sum(lengths[share]) <= budget or len(lengths[share]) == 1
