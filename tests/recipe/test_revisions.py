"""The lock file of commits: what a recipe names, what the file may hold, and where parameters get it from."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import SIZES_OF, recipe

from ruri_kedro.errors import RecipeError
from ruri_kedro.hooks.recipe_loader import RecipeLoader
from ruri_kedro.recipe.revisions import (
    Repository,
    named,
    read_revisions,
    revisions_text,
    unknown_repositories,
    with_revisions,
)
from ruri_kedro.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS

A, B = "a" * 40, "1" * 40  # the second would be a number without its quotes
SOURCES = {
    "news": {"kind": "pair", "hub": {"id": "o/news", "revision": None, "ref": "refs/convert/parquet"}},
    "wiki": {"kind": "collection", "hub": [{"id": "o/wiki", "revision": A}, {"id": "o/books"}]},
    "own": {"kind": "pair", "path": "x", "fields": {"id": "number"}, "where": {"id": "x"}},
}
PARAMS = {
    "sources": SOURCES,
    "tasks": {"t": {"hub": {"id": "o/test", "revision": None, "name": "eval"}, "corpus": {"hub": {"id": "o/wiki"}}}},
    "base_model": {"name": "o/bert", "revision": None, "ref": "refs/pr/2"},
    "finetuning": {"teacher": {"name": None, "revision": None}},
    "synthesis": {"model": {"backend": "server", "name": "o/writer", "revision": None}},
}
WANTED = {
    Repository("dataset", "o/news", "refs/convert/parquet"): A,
    Repository("dataset", "o/books"): B,
    Repository("dataset", "o/test"): B,
    Repository("dataset", "o/wiki"): B,
    Repository("model", "o/bert", "refs/pr/2"): B,
}


def test_what_names_a_model_or_data_set_is_found_at_any_depth():
    found = [(row.place, str(row.repository), row.revision) for row in named(PARAMS)]
    assert found == [
        ("sources.news.hub", "o/news@refs/convert/parquet", None),
        ("sources.wiki.hub.0", "o/wiki", A),
        ("sources.wiki.hub.1", "o/books", None),
        ("tasks.t.hub", "o/test", None),
        ("tasks.t.corpus.hub", "o/wiki", None),
        ("base_model", "o/bert@refs/pr/2", None),
    ]


def test_a_folder_is_on_no_hub(tmp_path):
    assert not list(named({"base_model": {"name": str(tmp_path), "revision": None}, "hub": {"id": str(tmp_path)}}))


def test_only_what_has_no_revision_gets_one():
    found = with_revisions(PARAMS, WANTED)
    assert found["sources"]["news"]["hub"]["revision"] == A
    assert [row["revision"] for row in found["sources"]["wiki"]["hub"]] == [A, B]
    assert found["tasks"]["t"]["hub"] == {"id": "o/test", "revision": B, "name": "eval"}
    assert found["tasks"]["t"]["corpus"]["hub"]["revision"] == found["base_model"]["revision"] == B
    assert found["finetuning"] == PARAMS["finetuning"] and found["synthesis"] == PARAMS["synthesis"]
    assert PARAMS["tasks"]["t"]["hub"]["revision"] is None, "the parameters themselves stay"


def test_the_commit_of_another_branch_is_not_taken():
    other = {Repository("model", "o/bert"): B}
    assert with_revisions(PARAMS, other) == PARAMS
    assert unknown_repositories(PARAMS, other) == [Repository("model", "o/bert")]


NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,12}/[A-Za-z0-9_.-]{1,12}", fullmatch=True)
REFS = st.sampled_from(["main", "refs/pr/5", "refs/convert/parquet", "v1.0"])
REPOSITORIES = st.builds(Repository, st.sampled_from(["model", "dataset"]), NAMES, REFS)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(REPOSITORIES, st.from_regex("[0-9a-f]{40}", fullmatch=True)))
def test_what_is_written_is_what_is_read(tmp_path_factory, revisions):
    path = tmp_path_factory.mktemp("lock") / "revisions.yml"
    path.write_text(revisions_text(revisions, "kedro ruri pin"), "utf-8")
    assert read_revisions(path) == revisions


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "blocks models and datasets are expected"),
        ("model: {}", "blocks models and datasets are expected"),
        ("models: [a/b]", "models: names with commits are expected"),
        ("models: {a/b: main}", r"models.a/b: 'main' is no commit of 40 digits. Write it again: kedro ruri pin"),
        (f"datasets: {{a/b: {B}}}", "is no commit of 40 digits"),  # a number, in YAML
        ("models: {", "not YAML"),
    ],
)
def test_another_form_is_refused(tmp_path, text, said):
    path = tmp_path / "revisions.yml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=f"{re.escape(str(path))}.*{said}"):
        read_revisions(path)


@pytest.fixture
def conf(tmp_path):
    """Two environments, the second with a lock file."""
    files = {
        "base/parameters.yml": "base_model: {name: null, revision: null}\nsources: {}",
        "base/globals.yml": "x: 1",
        "own/parameters.yml": "base_model: {name: o/bert, revision: null}",
        "own/revisions.yml": revisions_text({Repository("model", "o/bert"): A}, "x"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "local").mkdir()
    return tmp_path


def load(conf, env, **given):
    return RecipeLoader(str(conf), env, given or None, **CONFIG_LOADER_ARGS)["parameters"]


def test_parameters_are_loaded_with_the_commits_of_their_own_environment(conf):
    assert CONFIG_LOADER_CLASS is RecipeLoader
    assert load(conf, "own")["base_model"] == {"name": "o/bert", "revision": A}
    assert load(conf, None)["base_model"] == {"name": None, "revision": None}


def test_a_name_that_the_recipe_has_not_is_an_error(conf):
    (conf / "own/revisions.yml").write_text(revisions_text({Repository("model", "o/bart"): A}, "x"))
    with pytest.raises(RecipeError, match=r"own/revisions.yml: the recipe names no model 'o/bart' on the hub"):
        load(conf, "own")


def test_what_the_command_line_has_put_in_place_of_a_name_is_no_error(conf, tmp_path):
    found = load(conf, "own", base_model={"name": str(tmp_path)})
    assert found["base_model"] == {"name": str(tmp_path), "revision": None}
    with pytest.raises(RecipeError, match="no model 'o/bart'"):
        (conf / "own/revisions.yml").write_text(revisions_text({Repository("model", "o/bart"): A}, "x"))
        load(conf, "own", base_model={"name": str(tmp_path)})


@pytest.mark.parametrize("env", ["ruri", "ruri-v3"])
def test_the_papers_recipes_name_all_sizes_and_the_branches_that_are_not_main(env):
    found = list(named(recipe(env)))
    branches = {row.repository.id: row.repository.ref for row in found if row.repository.ref != "main"}
    parquet = ("intfloat/multilingual_cc_news", "shunk031/jsnli")
    small, base = "line-corporation/line-distilbert-base-japanese", "tohoku-nlp/bert-base-japanese-v3"
    tensors = {small: "refs/pr/5", base: "refs/pr/2"}
    assert branches == dict.fromkeys(parquet, "refs/convert/parquet") | (tensors if env == "ruri" else {})
    models = {row.place.split(".")[1] for row in found if row.place.startswith("_sizes.")}
    assert models == set(SIZES_OF[env])


@pytest.mark.parametrize("env", ["ruri", "ruri-v3"])
def test_a_locked_recipe_leaves_nothing_without_a_commit(env):
    params = recipe(env)
    wanted = {row.repository: B for row in named(params) if row.revision is None}
    assert wanted and all(row.revision for row in named(with_revisions(params, wanted)))
