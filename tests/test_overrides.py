"""Names given with --params."""

import pytest
from kedro_project import REPOSITORY

from ruri_kedro.recipe.overrides import unknown_parameter

FOLDERS = [REPOSITORY / "conf/base", REPOSITORY / "conf/ruri"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pretraning": {"epochs": 1}}, "--params pretraning.epochs: there is no such parameter."),
        ({"pretraning": {"epochs": 1}}, "Did you mean pretraining?"),
        ({"pretraining": {"epoch": 1}}, "Did you mean pretraining.epochs?"),
        ({"seed": 1, "run": {"watch": {"windo": 3}}}, "Did you mean run.watch.window?"),
        ({"qqq": True}, "--params qqq: there is no such parameter. conf/base has them all."),
    ],
)
def test_a_misspelt_name_is_named_with_what_was_meant(given, message):
    assert message in unknown_parameter(given, FOLDERS)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"raw_root": "x", "versioned": False, "size": "small", "seed": 7},
        {"pretraining": {"attention": "sdpa", "compile": True, "matryoshka_weights": [1]}},
        {"finetuning": {"shuffle_positives": True, "freeze_position_embeddings": True}},
        {"pretraining": {"epochs": 1}, "base_model": {"tiny": {"layers": 3}}},
        {"mining": {"pretraining": {"mine_window": {"first": 1, "last": 9}}}},  # null in the file
        {"sources": {"mqa": {"share": 0.1}}},  # a block of the user's own
        {"mteb": {"tasks": {"JSTS": {"max_length": 128}}}},  # empty in the file
    ],
)
def test_what_the_recipe_has_may_be_given(given):
    assert unknown_parameter(given, FOLDERS) is None


@pytest.mark.parametrize(
    ("env", "known"), [("ruri", True), ("ruri-released", True), ("ruri-v3", True), ("mini", False), ("local", False)]
)
def test_a_size_is_known_where_the_recipe_has_several(env, known):
    fault = unknown_parameter({"size": "small"}, [REPOSITORY / "conf/base", REPOSITORY / "conf" / env])
    assert (fault is None) == known
    assert known or "--params size: there is no such parameter." in fault
