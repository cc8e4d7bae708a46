"""A recipe that would stop a run after hours is refused before it starts."""

from types import SimpleNamespace

import click
import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro_project import REPOSITORY
from train_tables import SETTINGS, stage

from ruri_kedro.checks import CheckHooks, check_recipe_names
from ruri_kedro.errors import RecipeError
from ruri_kedro.pipelines import data_engineering, finetuning, negative_mining, pretraining, reranking

PIPELINE = sum(
    room.create_pipeline() for room in (data_engineering, pretraining, negative_mining, reranking, finetuning)
)
NOBODY = {"name": None, "revision": None}
HUB = {"name": "cl-nagoya/ruri-base", "revision": None}


def check(tmp_path, pipeline=PIPELINE, **changed):
    made = stage(tmp_path)
    run = {"seed": 1, "device": "cpu", "devices": 1, "threads": 1, "watch": made.watch, "held_out": None,
           "allow_untrained": False}  # fmt: skip
    tuned = SETTINGS | {"teacher": NOBODY, "teacher_precision": "float32"}
    parameters = {
        "base_model": NOBODY,
        "consistency": {"encoder": NOBODY},
        "mining.supervised": {"encoder": NOBODY},
        "encoding": {"precision": "float32"},
        "run": run | {"checkpoints": str(tmp_path)},
        "pretraining": SETTINGS,
        "reranking.stage1": SETTINGS,
        "reranking.stage2": SETTINGS,
        "finetuning": tuned,
    }
    for name, change in changed.items():
        name = name.replace("__", ".")
        parameters[name] = parameters.get(name, {}) | change
    catalog = DataCatalog({f"params:{name}": MemoryDataset(value) for name, value in parameters.items()})
    CheckHooks().before_pipeline_run(pipeline, catalog)


def test_a_complete_recipe_starts(tmp_path):
    assert check(tmp_path) is None
    assert check(tmp_path, base_model={"name": str(tmp_path)}) is None, "a folder needs no revision"


def test_every_fault_is_named_at_once(tmp_path):
    with pytest.raises(RecipeError) as error:
        check(
            tmp_path,
            base_model=HUB,
            mining__supervised={"encoder": HUB},
            encoding={"precision": "bf16"},
            finetuning={"teacher": HUB, "teacher_precision": "half"},
            reranking__stage2={"precision": "float16"},
        )
    lines = str(error.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "base_model", "mining.supervised.encoder", "finetuning.teacher", "encoding.precision",
        "reranking_stage2.precision", "finetuning.teacher_precision",
    ]  # fmt: skip
    assert "has no revision" in lines[1] and "use float32 or bfloat16" in lines[5]


def source(**stages):
    return {"sources": {"faq": {"stages": stages}}}


def test_a_teacher_is_asked_for_where_one_is_needed(tmp_path):
    taught = {"negatives": "rrf", "objective": "margin_mse"}
    with pytest.raises(RecipeError, match=r"finetuning\.teacher\.name: null, but .* of a reranker, and faq learn"):
        check(tmp_path, **source(finetuning=[{"negatives": "rrf"}, taught]))
    check(tmp_path, **source(finetuning={"negatives": "rrf"}))
    check(tmp_path, **source(finetuning=taught, reranking_stage1={"negatives": "bm25"}))
    check(tmp_path, **source(finetuning=taught), finetuning={"teacher": {"name": str(tmp_path), "revision": None}})


def test_a_stage_that_is_left_out_needs_no_parameters_that_could_train(tmp_path):
    bad = {"precision": "float16"}
    check(tmp_path, pretraining=bad, **source(finetuning={"negatives": "rrf"}))
    with pytest.raises(RecipeError, match=r"pretraining\.precision"):
        check(tmp_path, pretraining=bad, **source(pretraining={"negatives": "bm25"}))


def test_a_recipe_that_would_train_nothing_is_refused(tmp_path):
    for given in ({"sources": {}}, {"sources": {"faq": {}}}, source(pretraining=[])):
        with pytest.raises(RecipeError, match=r"sources: none takes part in any stage"):
            check(tmp_path, **given)


def test_a_misspelt_key_of_a_block_is_refused_before_the_run():
    recipe = {"bm25": {"engine": "lucene", "analyser": "ja", "k1": 0.9, "b": 0.4, "threads": 1, "heap_mb": 64}}
    catalog = DataCatalog({"parameters": MemoryDataset(recipe)})
    with pytest.raises(RecipeError, match=r"bm25\.analyser: there is no such parameter\. Did you mean analyzer\?"):
        CheckHooks().before_pipeline_run(data_engineering.create_pipeline().filter(node_names=["profile"]), catalog)


def test_only_what_the_run_needs_is_checked(tmp_path):
    check(tmp_path, pipeline=pretraining.create_pipeline(), finetuning={"teacher": HUB})
    with pytest.raises(RecipeError, match=r"finetuning.teacher: model 'cl-nagoya/ruri-base' is no local folder"):
        check(tmp_path, pipeline=finetuning.create_pipeline(), finetuning={"teacher": HUB}, base_model=HUB)


def test_on_the_command_line_it_is_a_message(tmp_path):
    with click.Context(click.Command("run")), pytest.raises(click.ClickException, match="base_model"):
        check(tmp_path, base_model=HUB)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"recipe": "shop/2024"}, "recipe: the name 'shop/2024' is not allowed"),
        ({"recipe": "shop:v2"}, "recipe: the name 'shop:v2' is not allowed"),
        ({"recipe": 2024}, "recipe: YAML reads the name 2024 as a number"),
        ({"recipe": "reranker-shop"}, "recipe: .* ruri-reranker-shop, the name of another recipe's reranker"),
        ({"sources": {"../x": {}}}, "sources: the name '../x' is not allowed"),
        ({"sources": {False: {}}}, "sources: YAML reads the name false as true or false"),
        ({"sources": {"faq": {}, "Faq": {}}}, "sources.Faq: differs from 'faq'"),
        ({"tasks": {"a/b": {"type": "sts"}}}, "tasks: the name 'a/b' is not allowed"),
        ({"tasks": {"x": {"type": "retrieval"}, "x_rerank": {"type": "sts"}}}, "tasks.x_rerank: this name is taken"),
        ({"sizes": {"../small": {}}}, "sizes: the name '../small'"),
        ({"promotion": {"model": "ruri/x"}}, "promotion.model: the name 'ruri/x' is not allowed"),
        ({"promotion": {"model": "x", "released": "{model}:v1"}}, "promotion.released: the name 'x:v1' is not allowed"),
        (
            {"promotion": {"model": "ruri-shop", "released": "ruri-reranker-shop"}},
            "'ruri-reranker-shop' is the recipe's other",
        ),
        (
            {"recipe": "a-released", "promotion": {"model": "ruri-a-released", "released": "{model}-released"}},
            "its model 'ruri-a-released' has a name that promotion.released",
        ),
        ({"synthesis": {"sets": {"../out": {}}}}, "synthesis.sets: the name '../out'"),
        ({"ablations": {"tables": {"a/b": {}}}}, "ablations.tables: the name 'a/b'"),
        ({"ablations": {"tables": {"t": {"cells": {"": {}}}}}}, "ablations.tables.t.cells: the name ''"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_at_the_start(changed, said):
    with pytest.raises(RecipeError, match=said):
        check_recipe_names({"recipe": "shop", "sources": {"faq": {}}, "tasks": {}} | changed)


def test_blocks_that_are_empty_have_no_names():
    empty = {"sources": None, "tasks": None, "synthesis": None, "ablations": {"tables": None}}
    promotion = {"model": "ruri-shop", "released": "{model}-released"}
    assert check_recipe_names({"recipe": "shop", **empty, "promotion": promotion}) is None


@pytest.mark.parametrize("recipe", ["店舗_2024-α", "2024"])
def test_names_in_files_of_parameters_are_checked_before_a_run_and_before_a_command(recipe, tmp_path):
    def start(sources):
        (tmp_path / "shop").mkdir(exist_ok=True)
        (tmp_path / "shop/globals.yml").write_text(f'recipe: "{recipe}"\nraw_root: x\nseed: 1\n', "utf-8")
        (tmp_path / "shop/parameters_sources.yml").write_text(f"sources: {{{sources}: {{path: x}}}}\ntasks: {{}}\n")
        loader = OmegaConfigLoader(str(tmp_path), env="shop", base_env="base", default_run_env="local",
                                   custom_resolvers={"store": str})  # fmt: skip
        CheckHooks().after_context_created(SimpleNamespace(config_loader=loader))
        return loader["parameters"]

    (tmp_path / "base").symlink_to(REPOSITORY / "conf/base")
    assert start('"2024"')["recipe"] == recipe
    for given, said in (("no", "true or false"), ("2024", "a number"), ("null", "sources: a name is missing")):
        with pytest.raises(RecipeError, match=said):
            start(given)
    with click.Context(click.Command("run")), pytest.raises(click.ClickException, match="'a/b' is not allowed"):
        start("a/b")


def test_the_names_of_the_shipped_recipes_are_allowed():
    for env in ("base", "mini", "ruri", "ruri-v3"):
        for path in (REPOSITORY / "conf" / env).glob("parameters*.yml"):
            params = yaml.safe_load(path.read_text("utf-8"))
            check_recipe_names({**params, "recipe": "x", "sources": params.get("sources") if env != "base" else {},
                                "tasks": params.get("tasks") if env != "base" else {}, "promotion": {}})  # fmt: skip
