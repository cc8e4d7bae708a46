"""What is said of a training that is measured on something that is no development data."""

import pytest

from ruri_kedro.benchmark.development import development_fault, development_pairs

KNOWN = {"pairs": {"type": "sts", "path": "dev.jsonl"}, "questions": {"type": "retrieval"}}


@pytest.mark.parametrize(
    ("task", "known", "reason"),
    [
        (
            "jsick",
            KNOWN,
            "finetuning.development.task: 'jsick' is not one of the parameters `development`. There are:",
        ),
        ("pairs", {}, "There are: none."),
        ("questions", KNOWN, "'questions' is a task of type retrieval, and pairs with scores (sts) are needed."),
    ],
)
def test_a_task_that_cannot_be_measured_on_is_named(task, known, reason):
    assert reason in development_fault({"development": {"task": task}}, "finetuning", known)


def test_pairs_of_development_and_none_are_no_fault(tmp_path):
    assert development_fault({"development": {"task": "pairs"}}, "finetuning", KNOWN) is None
    assert development_fault({"development": None}, "finetuning", {}) is None
    assert development_pairs({"development": None}, "finetuning", tmp_path) is None
