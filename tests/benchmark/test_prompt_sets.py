"""The prompts of a test are those that the model was saved with."""

import pytest
from recipes import recipe

from ruri_kedro.benchmark.mteb.prompts import named_prompts, recipe_prompts, saved_prompts
from ruri_kedro.errors import RecipeError


def own_of(found):
    return recipe_prompts(found["prompts"], found["task_prompts"])


@pytest.mark.parametrize(("env", "name"), [(None, "ruri"), ("mini", "ruri"), ("ruri", "ruri"), ("ruri-v3", "ruri-v3")])
def test_a_model_of_a_recipe_has_the_set_of_that_name_in_every_recipe(env, name):
    saved, mteb = recipe(env)["prompts"], recipe("ruri-v3")["mteb"]
    for other in (None, env):  # the recipe in whose environment the command is given
        found = saved_prompts("m", saved, mteb, own_of(recipe(other)))
        assert found == dict(named_prompts(mteb, name))


def test_a_recipe_of_its_own_prompts_needs_no_set():
    own = recipe_prompts({"query": "問: ", "document": "答: "}, {"sts": "", "pair": "組: "})
    found = saved_prompts("m", {"query": "問: ", "document": "答: "}, recipe(None)["mteb"], own)
    assert found == {"query": "問: ", "document": "答: ", "STS": "", "PairClassification": "組: "}


def test_what_no_set_has_is_taken_as_it_was_saved():
    mteb = recipe(None)["mteb"]
    assert saved_prompts("m", {"query": "q: ", "passage": "p: "}, mteb, {})["document"] == "p: "
    assert saved_prompts("m", {"query": "q: ", "document": "", "STS": "s: "}, mteb, {}) == {
        "query": "q: ", "document": "", "STS": "s: ",
    }  # fmt: skip


@pytest.mark.parametrize("saved", [{}, {"query": "", "document": ""}])
def test_a_model_saved_without_prompts_is_told_which_sets_there_are(saved):
    with pytest.raises(RecipeError, match=r"'m' was saved without prompts.*none, ruri, e5, ru-en-rosberta\."):
        saved_prompts("m", saved, recipe(None)["mteb"], {"query": "", "document": ""})
