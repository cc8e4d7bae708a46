"""Strict reading of what a model wrote."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.corpora.kinds import Text
from ruri_kedro.corpora.synthesis.answers import Rejected, parse_fields, parse_score
from ruri_kedro.corpora.synthesis.chat import Answer
from ruri_kedro.corpora.synthesis.tasks import TASKS, require_answer

QA = '{"question": "何の山か。", "answer": "富士山"}'
PASSAGE = Text("富士山（ふじさん）は、日本の最高峰である。", "富士山")


def answer(text: str, finish: str = "stop") -> Answer:
    return Answer(text, finish, 10, 5)


@pytest.mark.parametrize(
    "text",
    [
        QA,
        f"  {QA}\n",
        f"```json\n{QA}\n```",
        f"```\n{QA}\n```",
        f"<think>質問は{{何}}にしよう。</think>\n\n{QA}",
        '{"reason": "山だから", "question": "何の山か。", "answer": "富士山", "level": 3}',
        '{"question": " 何の\\u200b山か｡ ", "answer": "富士山\\n"}',
    ],
)
def test_an_answer_is_read(text):
    assert parse_fields(answer(text), ("question", "answer")) == {"question": "何の山か。", "answer": "富士山"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("<think>長い</think>", "empty"),
        ("質問: 何の山か。", "not_json"),
        (f"はい、作りました。\n{QA}", "not_json"),
        (QA[:-1], "not_json"),
        (f"```json\n{QA}\n```\n```json\n{QA}\n```", "not_json"),
        ("[" * 100_000, "not_json"),
        ('{"question": "何の山か。", "question": "何の川か。", "answer": "富士山"}', "not_json"),
        (f"[{QA}]", "not_an_object"),
        ("12", "not_an_object"),
        ('{"question": "何の山か。"}', "missing_field"),
        ('{"answer": "富士山", "question": "何の山か。"}', "wrong_order"),
        ('{"question": ["何の山か。"], "answer": "富士山"}', "not_text"),
        ('{"question": "何の山か。", "answer": null}', "not_text"),
        ('{"question": "何の山か。", "answer": " \\u200b "}', "blank_field"),
    ],
)
def test_what_is_no_answer_is_rejected_with_its_reason(text, reason):
    with pytest.raises(Rejected) as error:
        parse_fields(answer(text), ("question", "answer"))
    assert error.value.reason == reason


@pytest.mark.parametrize(("finish", "reason"), [("length", "truncated"), ("content_filter", "filtered")])
def test_an_answer_that_was_cut_is_rejected_though_it_reads_well(finish, reason):
    with pytest.raises(Rejected) as error:
        parse_fields(answer(QA, finish), ("question", "answer"))
    assert error.value.reason == reason


@settings(deadline=None)
@given(st.text(), st.sampled_from(["stop", "length", "tool_calls"]))
def test_any_text_is_read_or_rejected(text, finish):
    for wrapped in (text, f"```json\n{text}\n```", json.dumps(text), json.dumps({"question": text, "answer": text})):
        try:
            fields = parse_fields(answer(wrapped, finish), ("question", "answer"))
        except Rejected as error:
            assert error.reason
        else:
            assert fields["question"] and fields["answer"]


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("question_to_passage", {"question": "富士山是什么山?", "answer": "山"}, "not_japanese"),
        ("question_to_passage", {"question": "Which mountain is it?", "answer": "山"}, "not_japanese"),
        ("question_to_passage", {"question": "何の山か。", "answer": "。"}, "blank_field"),
        ("premise_to_hypothesis", {"contradiction": "富士山は低い。", "entailment": "It is high."}, "not_japanese"),
        ("premise_to_hypothesis", {"contradiction": "富士山は低い。", "entailment": "富士山は低い"}, "same_hypotheses"),
        ("premise_to_hypothesis", {"contradiction": "低い山だ。", "entailment": PASSAGE.text}, "same_as_premise"),
    ],
)
def test_what_is_said_is_checked(kind, fields, reason):
    with pytest.raises(Rejected) as error:
        TASKS[kind].check(PASSAGE, fields)
    assert error.value.reason == reason


@pytest.mark.parametrize("found", ["富士山", "日本の 最高峰", "ふじさん"])
def test_an_answer_in_the_passage(found):
    assert require_answer(PASSAGE, {"answer": found}) is None


def test_an_answer_that_is_not_in_the_passage():
    with pytest.raises(Rejected, match="answer_not_in_passage: 北岳"):
        require_answer(PASSAGE, {"answer": "北岳"})


def test_scores():
    assert parse_score(answer('{"score": 7}'), 1, 10) == 7.0
    for text in ('{"score": "7"}', '{"score": 11}', '{"score": true}', '{"score": NaN}', "{}", '{"score": null}'):
        with pytest.raises(Rejected, match="no_score"):
            parse_score(answer(text), 1, 10)
