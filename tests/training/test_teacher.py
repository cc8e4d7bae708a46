"""Which positives the teacher's scores let stay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.training.teacher import believed, check_kept, check_sources, threshold_of, weak_positives

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=60)


def distilled(logits):
    rows = [{"objective": "distillation", "query_id": f"q{i}", "positive": "p"} for i in range(len(logits))]
    return rows, {(row["query_id"], "p"): logit for row, logit in zip(rows, logits, strict=True)}


@given(LOGITS, st.floats(0.01, 1))
def test_a_share_keeps_the_highest_whatever_the_level_of_the_logits(logits, share):
    rows, scores = distilled(logits)
    threshold = threshold_of(rows, scores, None, share)
    kept = [logit for logit, row in zip(logits, rows, strict=True) if believed(row, scores, threshold)]
    dropped = sorted(logits)[: len(logits) - len(kept)]
    assert len(kept) >= max(1, share * len(logits) - 0.5)
    assert not dropped or max(dropped) <= min(kept)


def test_a_share_of_distinct_scores_is_kept_to_the_row():
    rows, scores = distilled(np.linspace(-9, -3, 10))
    assert sum(believed(row, scores, threshold_of(rows, scores, None, 0.2)) for row in rows) == 2


def test_a_given_threshold_is_on_the_sigmoid_and_goes_before_the_share():
    rows, scores = distilled([np.log(0.81 / 0.19), np.log(0.79 / 0.21)])
    threshold = threshold_of(rows, scores, 0.8, 1.0)
    assert [believed(row, scores, threshold) for row in rows] == [True, False]


def test_examples_that_are_not_taught_stay_without_a_score():
    assert believed({"objective": "contrastive"}, {}, 0.8)
    assert threshold_of([], {}, None, 0.2) == 0.0


def test_too_few_survivors_are_an_error_that_names_the_parameter():
    with pytest.raises(TrainingError, match=r"only 1 of 10 .* 0\.8 or more; finetuning\.min_kept asks for 20%"):
        check_kept(1, 10, 0.8, 0.2)
    check_kept(2, 10, 0.8, 0.2)


@pytest.mark.parametrize(("threshold", "allowed"), [(0.8, False), (0.8, True), (0.1, False)])
def test_a_source_of_which_every_positive_is_weak_is_named(threshold, allowed, caplog):
    rows, scores = distilled([2.0, -1.0, -1.5])
    for row, source in zip(rows, ("faq", "news", "news"), strict=True):
        row |= {"source": source, "example_id": row["query_id"], "split": "train"}
    weak = weak_positives(rows, scores, threshold)
    if threshold == 0.1 or allowed:
        check_sources(rows, weak, threshold, allowed)
        assert ("nothing is learnt" in caplog.text) == allowed
    else:
        with pytest.raises(
            RecipeError, match=r"from 1 of its 2 sources:\n  news \(distillation\): the teacher .* 0.8 "
        ):
            check_sources(rows, weak, threshold, allowed)
