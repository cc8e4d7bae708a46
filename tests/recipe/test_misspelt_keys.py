"""Every key of the shipped recipes: misspelt, missing, or with a value of another type, it is refused before a run."""

import json
import subprocess
import sys

import pytest
from recipes import recipe

from ruri_kedro.recipe.blocks import BLOCKS, OWN, faults_in

ENVIRONMENTS = (None, "mini", "ruri", "ruri-v3")
ANY = "*"
# Below these places stand names that a user, a file or another library gives.
NAMES = [
    ("sources",), ("sources", ANY, "fields"), ("sources", ANY, "where"), ("sources", ANY, "exclude"),
    ("sources", ANY, "drop_lowest"), ("sources", ANY, "labels"), ("sources", ANY, "hub", "where"),
    ("sources", ANY, "hub", "exclude"), ("sources", ANY, "hub", ANY, "where"), ("sources", ANY, "hub", ANY, "exclude"),
    ("tasks",), ("promotion", "minimum", ANY, "tasks"), ("publication", "model"), ("publication", "dataset"),
    ("publication", "synthetic"), ("synthesis", "sets"), ("synthesis", "model", "options"),
    ("synthesis", "sets", ANY, "source", "fields"), ("mteb", "tasks"), ("mteb", "official"), ("mteb", "official", ANY),
    ("mteb", "prompts"), ("mteb", "prompts", ANY), ("ablations", "tables"), ("ablations", "tables", ANY, "cells"),
    ("ablations", "tables", ANY, "cells", ANY, "paper"),
    # Names of nodes, data sets and parameters, which the ablations know before any cell is run.
    *[("ablations", "tables", ANY, "cells", ANY, name) for name in ("copies", "params", "data")],
    ("ablations", "tables", ANY, "cells", ANY, "data", ANY),
]  # fmt: skip


OPTIONAL = {("sources",), ("tasks",), ("synthesis", "sets"), ("ablations", "tables")}


def is_named(path):
    """Whether the last key of a place is a name that a user gives."""
    return any(
        len(place) + 1 == len(path) and all(one in (ANY, two) for one, two in zip(place, path, strict=False))
        for place in NAMES
    )


def keys(block, path=()):
    """The places of all keys of parameters, those in lists too."""
    for key, value in block.items() if isinstance(block, dict) else enumerate(block):
        if isinstance(block, dict):
            yield (*path, key)
        if isinstance(value, dict | list):
            yield from keys(value, (*path, key))


def at(params, path):
    for key in path:
        params = params[key]
    return params


def with_change(params, path, change):
    """The faults of parameters whose block at `path` is `change` of it; the parameters themselves stay."""
    *above, last = path
    holder = at(params, above)
    kept = holder[last]
    holder[last] = change(kept)
    try:
        return list(faults_in({path[0]: holder[last] if len(path) == 1 else params[path[0]]}))
    finally:
        holder[last] = kept


def renamed(block, key, new):
    return {new if name == key else name: value for name, value in block.items()}


def own(params):
    """The places of the keys that the recipe machine itself names, below the top level."""
    blocks = {name: block for name, block in params.items() if name in BLOCKS}
    return [path for path in keys(blocks) if len(path) > 1 and not is_named(path)]


def shown(path):
    return ".".join(map(str, path))


PARAMETERS = {env: json.loads(json.dumps(recipe(env), default=str)) for env in ENVIRONMENTS}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_a_misspelt_key_is_refused_with_the_right_name(env):
    params = PARAMETERS[env]
    assert list(faults_in(params)) == []
    failed = []
    for path in (places := own(params)):
        *above, key = path
        letter = "x" if key[1:2] != "x" else "z"
        misspelt = key[0] + letter + key[2:]
        told = with_change(params, above, lambda block, key=key, new=misspelt: renamed(block, key, new))
        lines = [line for line in told if line.startswith(f"{shown([*above, misspelt])}: there is no such parameter.")]
        if len(lines) != 1 or key not in lines[0].partition(". ")[2]:
            failed.append((shown(path), misspelt, told))
    assert not failed, f"{len(failed)} of {len(places)}: {failed[:5]}"
    assert len(places) > 300


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_a_misspelt_key_at_the_top_is_refused_with_the_right_name(env):
    for key in (name for name in PARAMETERS[env] if not name.startswith(OWN)):
        misspelt = key[0] + ("x" if key[1:2] != "x" else "z") + key[2:]
        [line] = faults_in({misspelt: PARAMETERS[env][key]})
        assert line.startswith(f"{misspelt}: there is no such parameter.") and key in line.partition(". ")[2], line


def test_a_missing_key_is_named():
    params = PARAMETERS[None]
    for path in own(params):
        *above, key = path
        told = with_change(params, above, lambda block, key=key: {k: v for k, v in block.items() if k != key})
        # The keys of a source, a task, a set, a table or a cell may be left out, and so may a category.
        if path[:1] in OPTIONAL or path[:2] in OPTIONAL or path[-2:-1] == ("categories",):
            continue
        assert any(line.startswith(f"{shown(path)}: missing.") for line in told), (path, told)


def test_a_value_of_another_type_is_named():
    params = PARAMETERS[None]
    for path in [*own(params), *((name,) for name in BLOCKS)]:
        if path[-2:-1] in (("where",), ("options",)):
            continue  # values of any type
        for wrong in ([[0.5]], {"no": {"such": 1}}):
            told = (
                with_change(params, path, lambda _, wrong=wrong: wrong)
                if path[1:]
                else list(faults_in({path[0]: wrong}))
            )
            assert any(line.startswith(shown(path)) for line in told), (path, wrong, told)


def test_all_faults_are_told_with_their_places():
    params = {"bm25": {"analyzer": "mecab", "k1": -1}, "leaks": {"min_chars": 0}, "seed": "x", "engine": "spark"}
    told = "\n".join(faults_in(params))
    for said in ('bm25.analyzer: "mecab" is given', "bm25.k1: -1 is given", "bm25.b: missing", "leaks.near: missing",
                 'seed: "x" is given', 'engine: "spark" is given'):  # fmt: skip
        assert said in told


def test_names_of_ones_own_are_no_fault():
    assert list(faults_in({"_rates": {"a": 1}, "shelf": 1}, own=["shelf"])) == []


def test_looking_for_faults_imports_nothing_heavy():
    """A command that is refused says so in seconds."""
    code = (
        "import sys; from ruri_kedro.recipe.blocks import BLOCKS, faults_in; "
        "list(faults_in({name: {} for name in BLOCKS})); "
        "print([name for name in ('torch', 'polars', 'mlflow', 'transformers', 'sentence_transformers', 'mteb', "
        "'datasets', 'faiss') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
