"""The parameters of a training: what is refused, under the name that the recipe has for it."""

import pytest
from train_tables import ADAPTATION, FINETUNING, PRETRAINING, RERANKING

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stages import STAGES

GIVEN = {
    "adaptation": ADAPTATION,
    "pretraining": PRETRAINING,
    "reranking_stage1": RERANKING,
    "reranking_stage2": RERANKING,
    "finetuning": FINETUNING,
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "float16"}, ".precision: \"float16\" is given, expected is 'auto', 'float32' or 'bfloat16'."),
        ({"keep_tokens": ...}, ".keep_tokens: missing."),
        ({"batch_size": 0}, ".batch_size: 0 is given, expected is greater than or equal to 1."),
        ({"checkpoint_steps": 1.5}, ".checkpoint_steps: 1.5 is given, expected is a valid integer."),
        ({"max_length": None}, ".max_length: null is given, expected is a valid integer"),
        ({"learning_rate": "1e-3"}, '.learning_rate: "1e-3" (text; a number such as 1e-3 is written 1.0e-3 in YAML)'),
        ({"compile": "yes"}, '.compile: "yes" is given, expected is a valid boolean.'),
        ({"atention": None}, ".atention: there is no such parameter. Did you mean attention?"),
    ],
)
def test_a_fault_is_named_with_its_place(stage, change, message):
    place, kind = STAGES[stage].block, resolve(STAGES[stage].settings)
    parse(kind, GIVEN[stage], place)
    wrong = {name: value for name, value in (GIVEN[stage] | change).items() if value is not ...}
    with pytest.raises(RecipeError) as caught:
        parse(kind, wrong, place)
    assert str(caught.value).startswith(place + message)


def test_a_bi_encoder_reads_anchors_and_passages_in_lengths_of_their_own():
    place, kind = "pretraining", resolve(STAGES["pretraining"].settings)
    assert parse(kind, PRETRAINING | {"max_length": 64}, place).lengths == (64, 64)
    assert parse(kind, PRETRAINING | {"max_length": {"query": 32, "document": 300}}, place).lengths == (32, 300)
    with pytest.raises(RecipeError, match=r"pretraining\.max_length\.document: missing"):
        parse(kind, PRETRAINING | {"max_length": {"query": 32}}, place)
    with pytest.raises(RecipeError, match=r"reranking\.stage1\.max_length"):
        given = RERANKING | {"max_length": {"query": 32, "document": 300}}
        parse(resolve(STAGES["reranking_stage1"].settings), given, "reranking.stage1")


@pytest.mark.parametrize("dims", [None, [32, 8, 4]])
def test_each_matryoshka_dimension_has_a_weight(dims):
    with pytest.raises(RecipeError, match=r"finetuning: matryoshka_weights=\[1\.0, 0\.5\]: give one for each of"):
        place, kind = "finetuning", resolve(STAGES["finetuning"].settings)
        parse(kind, FINETUNING | {"matryoshka_dims": dims, "matryoshka_weights": [1, 0.5]}, place)


def test_a_misspelt_temperature_of_the_teacher_is_refused():
    wrong = {name: value for name, value in FINETUNING.items() if name != "distillation_temperature"}
    with pytest.raises(RecipeError, match=r"Did you mean distillation_temperature\?"):
        parse(resolve(STAGES["finetuning"].settings), wrong | {"distilation_temperature": 0.1}, "finetuning")
