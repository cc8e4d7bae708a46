"""The parameters are checked before anything is sent."""

import pytest
from synthesis_parameters import INFERENCE, QUESTIONS, parameters

from ruri_kedro.corpora.synthesis.settings import parse_settings
from ruri_kedro.errors import RecipeError


def test_the_shipped_parameters_follow_the_paper(tmp_path):
    questions, inference = (wanted.row for wanted in parse_settings(parameters(tmp_path))[1])
    assert (questions.kind, questions.paragraphs, questions.answer_in_passage) == (
        "question_to_passage",
        3,
        True,
    )
    assert inference.kind == "premise_to_hypothesis" and inference.task.fields == ("contradiction", "entailment")
    user = inference.prompt.user
    assert 0 < user.index("contradiction") < user.index("entailment")
    assert questions.score.drop == inference.score.drop == 0.2


def test_a_set_of_count_0_is_left_out(tmp_path):
    _, sets = parse_settings(parameters(tmp_path, sets={QUESTIONS: {"count": 0}}))
    assert [wanted.name for wanted in sets] == [INFERENCE]
    with pytest.raises(RecipeError, match=r"synthesis\.sets: no set has a count above 0"):
        parse_settings(parameters(tmp_path, sets={QUESTIONS: {"count": 0}, INFERENCE: {"count": 0}}))


def qa(**given) -> dict:
    return {"sets": {QUESTIONS: given}}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"jurnal": 1}, r"^synthesis\.jurnal: there is no such parameter\. Did you mean journal\?"),
        ({"model": {"name": None}}, r"synthesis\.model\.name: missing"),
        ({"model": {"backend": "oracle"}}, r'synthesis\.model\.backend: "oracle" is given, expected is \'server\' or'),
        ({"model": {"backend": "local"}}, r"synthesis\.model: 'swallow' is not a local folder and has no revision"),
        (
            {"model": {"base_url": "localhost:8000"}},
            r"synthesis\.model\.base_url: 'localhost:8000' is not a plain",
        ),
        ({"model": {"base_url": "http://me:secret@host/v1"}}, r"base_url: 'host/v1' is not a plain http"),
        ({"model": {"options": {"max_tokens": None}}}, r"synthesis\.model\.options\.max_tokens: missing"),
        ({"model": {"temperature": 1}}, r"synthesis\.model\.temperature: there is no such parameter"),
        ({"requests": {"workers": 0}}, r"synthesis\.requests\.workers: 0 is given, expected is greater than or equal"),
        ({"requests": {"first_wait": 9}}, r"synthesis\.requests\.first_wait: 9\.0 is above longest_wait"),
        ({"prices": {"prompt": -1}}, r"synthesis\.prices\.prompt: -1 is given, expected is greater than or equal to 0"),
        (qa(kind="edit"), r"sets\.autowikiqa\.kind: \"edit\" is given, expected is "),
        (qa(per_artcle=1), r"sets\.autowikiqa\.per_artcle: .* Did you mean per_article\?"),
        (qa(min_chars=9, max_chars=8), r"sets\.autowikiqa\.min_chars: 9 is above max_chars, 8"),
        (qa(source={"shape": "scroll"}), r'autowikiqa\.source\.shape: "scroll" is given'),
        (qa(source={"pathe": "x"}), r"autowikiqa\.source\.pathe: .* Did you mean path\?"),
        (qa(prompt={"user": "問いを書け"}), r"autowikiqa\.prompt: \$text is not in the prompt.*There are: \$section"),
        (qa(prompt={"user": "$text $answer"}), r"autowikiqa\.prompt: \$answer cannot be filled in"),
        (qa(prompt={"user": "$text は $5"}), r"autowikiqa\.prompt: a '\$' starts no name; write '\$\$'"),
        (qa(score={"by": "taste"}), r'score\.by: "taste" is given, expected is \'self\' or \'reward\''),
        (qa(score={"drop": 1}), r"score\.drop: 1 is given, expected is less than 1"),
        (qa(score={"prompt": {"user": "$text $question"}}), r"score\.prompt: \$answer is not in the prompt"),
        (qa(score={"prompt": None}), r"autowikiqa\.score\.prompt: missing"),
        (qa(score={"lowest": 10}), r"autowikiqa\.score\.lowest: 10\.0 is not below highest, 10"),
        (qa(score={"by": "reward"}), r"score\.name: missing"),
        (qa(score={"by": "reward", "name": "org/reward"}), r"score: 'org/reward' is not a local folder and has no rev"),
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
