"""The parameters are checked before anything is sent."""

import pytest
from synthesis_parameters import INFERENCE, QUESTIONS, parameters

from ruri_kedro.corpora.synthesis.settings import parse_settings
from ruri_kedro.errors import RecipeError


def test_the_shipped_parameters_follow_the_paper(tmp_path):
    questions, inference = parse_settings(parameters(tmp_path)).sets
    assert (questions.kind, questions.choice.paragraphs, questions.answer_in_passage) == (
        "question_to_passage",
        3,
        True,
    )
    assert inference.kind == "premise_to_hypothesis" and inference.task.fields == ("contradiction", "entailment")
    user = inference.prompt.user
    assert 0 < user.index("contradiction") < user.index("entailment")
    assert questions.score.drop == inference.score.drop == 0.2


def test_a_set_of_count_0_is_left_out(tmp_path):
    settings = parse_settings(parameters(tmp_path, sets={QUESTIONS: {"count": 0}}))
    assert [wanted.name for wanted in settings.sets] == [INFERENCE]
    with pytest.raises(RecipeError, match=r"synthesis\.sets: no set has a count above 0"):
        parse_settings(parameters(tmp_path, sets={QUESTIONS: {"count": 0}, INFERENCE: {"count": 0}}))


def qa(**given) -> dict:
    return {"sets": {QUESTIONS: given}}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"colour": 1}, r"synthesis: 'colour' is unknown"),
        ({"model": {"name": None}}, r"synthesis\.model\.name: missing"),
        ({"model": {"backend": "oracle"}}, r"synthesis\.model\.backend: 'oracle' is unknown\. Allowed: local, server"),
        ({"model": {"backend": "local"}}, r"synthesis\.model: 'swallow' is no local folder and has no revision"),
        ({"model": {"base_url": "localhost:8000"}}, r"synthesis\.model\.base_url: 'localhost:8000' is no plain http"),
        ({"model": {"base_url": "http://me:secret@host/v1"}}, r"base_url: 'host/v1' is no plain http"),
        ({"model": {"options": {"max_tokens": None}}}, r"synthesis\.model\.options\.max_tokens: missing"),
        ({"model": {"temperature": 1}}, r"synthesis\.model: 'temperature' is unknown"),
        ({"requests": {"workers": 0}}, r"synthesis\.requests: workers"),
        ({"prices": {"prompt": -1}}, r"synthesis\.prices: a price"),
        (qa(kind="edit"), r"sets\.autowikiqa\.kind: 'edit' is unknown\. Allowed: premise_to_hypothesis, question_to"),
        (qa(colour=1), r"sets\.autowikiqa: 'colour' is unknown"),
        (qa(min_chars=9, max_chars=8), r"min_chars"),
        (qa(source={"shape": "scroll"}), r"autowikiqa\.shape: 'scroll' is unknown"),
        (qa(prompt={"user": "問いを書け"}), r"autowikiqa\.prompt: \$text is not in the prompt.*There are: \$section"),
        (qa(prompt={"user": "$text $answer"}), r"autowikiqa\.prompt: \$answer cannot be filled in"),
        (qa(prompt={"user": "$text は $5"}), r"autowikiqa\.prompt: a '\$' starts no name; write '\$\$'"),
        (qa(score={"by": "taste"}), r"score\.by: 'taste' is unknown\. Allowed: reward, self"),
        (qa(score={"drop": 1}), r"score\.drop: 1 is no share"),
        (qa(score={"prompt": {"user": "$text $question"}}), r"score\.prompt: \$answer is not in the prompt"),
        (qa(score={"prompt": None}), r"autowikiqa\.score: a prompt is missing"),
        (qa(score={"by": "reward"}), r"score\.name: missing"),
        (qa(score={"by": "reward", "name": "org/reward"}), r"score: 'org/reward' is no local folder and has no rev"),
        ({"sets": {INFERENCE: {"answer_in_passage": True}}}, r"answer_in_passage: only answers of question_to_passage"),
    ],
)
def test_a_parameter_without_meaning_is_named(tmp_path, wrong, message):
    with pytest.raises(RecipeError, match=message):
        parse_settings(parameters(tmp_path, **wrong))


def test_a_missing_parameter_is_named(tmp_path):
    given = parameters(tmp_path)
    del given["requests"]["tries"]
    with pytest.raises(RecipeError, match=r"synthesis\.requests\.tries: missing"):
        parse_settings(given)
