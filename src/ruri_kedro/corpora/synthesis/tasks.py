"""What is asked about an excerpt: one task per kind of source that it makes rows for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ruri_kedro.corpora.kinds import Text
from ruri_kedro.corpora.synthesis.answers import Rejected, require_japanese
from ruri_kedro.corpora.synthesis.choose import Cut, passages, sentences
from ruri_kedro.text.normalize import match_key

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """How excerpts are cut, what an answer holds (in this order), what is wrong with it, and the rows it gives."""

    cut: Cut
    fields: tuple[str, ...]
    check: Callable[[Text, Fields], None]
    rows: Callable[[Text, Fields], list[dict]]


def check_question(excerpt: Text, fields: Fields) -> None:
    """Raise Rejected for a question that is not Japanese, or an answer that is only punctuation."""
    require_japanese("question", fields["question"])
    if not match_key(fields["answer"]):
        raise Rejected("blank_field", "answer")


def require_answer(excerpt: Text, fields: Fields) -> None:
    """Raise Rejected unless the answer stands in the passage; case, spaces and punctuation do not count."""
    if match_key(fields["answer"]) not in match_key(excerpt.full):
        raise Rejected("answer_not_in_passage", fields["answer"])


def question_rows(excerpt: Text, fields: Fields) -> list[dict]:
    """The row of kind question_to_passage."""
    passage = {"title": excerpt.title, "section": excerpt.section, "text": excerpt.text}
    return [{"question": fields["question"], "answers": [fields["answer"]], **passage}]


def check_hypotheses(excerpt: Text, fields: Fields) -> None:
    """Raise Rejected for hypotheses that are not Japanese, or say the same as the premise or each other."""
    for name, text in fields.items():
        require_japanese(name, text)
        if match_key(text) == match_key(excerpt.text):
            raise Rejected("same_as_premise", name)
    if match_key(fields["contradiction"]) == match_key(fields["entailment"]):
        raise Rejected("same_hypotheses")


def hypothesis_rows(excerpt: Text, fields: Fields) -> list[dict]:
    """The two rows of kind premise_to_hypothesis."""
    return [{"premise": excerpt.text, "hypothesis": text, "label": label} for label, text in fields.items()]


TASKS: dict[str, Task] = {
    "question_to_passage": Task(passages, ("question", "answer"), check_question, question_rows),
    # The contradiction first: written after the entailment it is mostly a plain negation (Ruri, Section 2.2).
    "premise_to_hypothesis": Task(sentences, ("contradiction", "entailment"), check_hypotheses, hypothesis_rows),
}
