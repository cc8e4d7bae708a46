"""What each source has of a plan, counted in another way."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.training.planning import BatchSettings, Shares
from ruri_kedro.training.reading import PlanRows

NAMES = ["faq (contrastive)", "faq (distillation)", "nli (contrastive)"]
OBJECTIVES = ["contrastive", "distillation", "contrastive"]
ROWS = st.lists(st.tuples(st.integers(0, 2), *[st.integers(-1, 30)] * 3), min_size=1, max_size=80)


@settings(max_examples=80, deadline=None)
@given(ROWS, st.integers(1, 9), st.integers(1, 3), st.booleans())
def test_shares_are_those_of_the_batches(table, size, epochs, homogeneous):
    rows = PlanRows(np.array([row[1:] for row in table]), np.array([row[0] for row in table]), NAMES, OBJECTIVES)
    how = BatchSettings(size, epochs, homogeneous, 1)
    plan = how.plan(rows)
    shares = Shares.of(plan, rows, how)
    assert shares.steps == len(plan)
    for number, share in enumerate(shares.each):
        batches = [batch for batch in plan if number in rows.groups[batch.rows]]
        used = sum(int((rows.groups[batch.rows] == number).sum()) for batch in batches)
        assert share.steps == len(batches)
        assert share.examples == (rows.groups == number).sum()
        assert share.in_no_batch == epochs * share.examples - used
        assert share.smallest_batch == min((len(batch.rows) for batch in batches), default=size)
    total = sum(share.in_no_batch for share in shares.each)
    assert total == len(plan.dropped) and shares.in_no_batch_text().startswith(f"{total}" if total else "none")
    told = shares.report()["objectives"]
    if homogeneous:
        taught = sum(batch.group == 1 for batch in plan)
        assert told == {"contrastive": len(plan) - taught, "distillation": taught}
    assert {share.source: share.steps for share in shares.each} == {
        "faq (contrastive)": shares.metrics()["steps/faq contrastive"],
        "faq (distillation)": shares.metrics()["steps/faq distillation"],
        "nli (contrastive)": shares.metrics()["steps/nli contrastive"],
    }


def test_smaller_batches_are_told():
    texts = np.column_stack([np.arange(60), 100 + np.arange(60) % 3])
    rows = PlanRows(texts, np.arange(60) // 40, NAMES[:2], OBJECTIVES[:2])
    for homogeneous, text in (
        (True, f"{NAMES[0]} 3 instead of 16"),
        (False, f"{NAMES[0]} 3 instead of 16, {NAMES[1]} 3 instead of 16"),
    ):
        how = BatchSettings(16, 1, homogeneous, 1)
        assert Shares.of(how.plan(rows), rows, how).small_batches_text() == text
