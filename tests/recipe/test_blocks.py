"""The blocks of the shipped recipes, and what becomes of a misspelt key in them."""

from copy import deepcopy

import pytest
from recipes import recipe

from ruri_kedro.recipe.blocks import BLOCKS, faults_in

ENVIRONMENTS = (None, "mini", "ruri", "ruri-v3")


def keys(block, path=()):
    """The places of all keys of a block."""
    for key, value in block.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys(value, (*path, key))


def at(params, path):
    for key in path:
        params = params[key]
    return params


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_misspelt_key_of_a_block_is_refused_with_the_right_name(env):
    params = {key: value for key, value in recipe(env).items() if key in {place.split(".")[0] for place in BLOCKS}}
    assert list(faults_in(params)) == []
    seen = 0
    for place in BLOCKS:
        for path in keys(at(params, place.split("."))):
            wrong = deepcopy(params)
            *above, key = (*place.split("."), *path)
            letter = "x" if key[1:2] != "x" else "z"
            misspelt = key[0] + letter + key[2:]
            holder = at(wrong, above)
            holder[misspelt] = holder.pop(key)
            told = [
                line for line in faults_in(wrong) if line.startswith(f"{'.'.join([*above, misspelt])}: there is no")
            ]
            assert len(told) == 1 and key in told[0].partition(". ")[2], (place, path, list(faults_in(wrong)))
            seen += 1
    assert seen > 25


def test_all_faults_are_told_with_their_places():
    params = {"bm25": {"analyzer": "mecab", "k1": -1}, "leaks": {"min_chars": 0}}
    told = "\n".join(faults_in(params))
    for said in ('bm25.analyzer: "mecab" is given', "bm25.k1: -1 is given", "bm25.b: missing", "leaks.near: missing"):
        assert said in told
