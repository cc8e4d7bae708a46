"""A recipe that would stop a run after hours is refused before it starts."""

from copy import deepcopy
from types import SimpleNamespace

import click
import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro_project import REPOSITORY
from recipes import at, recipe

from ruri_kedro.errors import RecipeError
from ruri_kedro.hooks.checks import CheckHooks, check_recipe_names
from ruri_kedro.pipelines import adaptation, data_engineering, finetuning, negative_mining, pretraining, reranking

PIPELINE = sum(
    room.create_pipeline()
    for room in (data_engineering, adaptation, pretraining, negative_mining, reranking, finetuning)
)
HUB = {"name": "cl-nagoya/ruri-base", "revision": None}


BLOCKS = (
    "base_model",
    "consistency",
    "mining",
    "encoding",
    "run",
    "adaptation",
    "pretraining",
    "reranking",
    "finetuning",
)


def check(pipeline=PIPELINE, given=None, sources=None, **changed):
    """Check a run of the shipped recipe with other sources, and other values at places such as `run__device`."""
    parameters = deepcopy(recipe(None))
    parameters["sources"] = parameters["sources"] if sources is None else sources
    parameters["run"]["device"] = parameters["encoding"]["device"] = "cpu"
    for place, value in changed.items():
        *path, key = place.split("__")
        holder = at(parameters, ".".join(path)) if path else parameters
        holder[key] = holder.get(key, {}) | value if isinstance(value, dict) else value
    places = ("mining.supervised", "reranking.stage1", "reranking.stage2", "sources", *BLOCKS)
    data = {f"params:{place}": at(parameters, place) for place in places} | {"parameters": parameters}
    hooks = CheckHooks()
    hooks._given = frozenset(given or ())
    hooks.before_pipeline_run(pipeline, DataCatalog({name: MemoryDataset(value) for name, value in data.items()}))


def test_a_complete_recipe_starts(tmp_path):
    assert check() is None
    assert check(base_model={"name": str(tmp_path)}) is None, "a folder needs no revision"


def test_rules_of_mining_that_a_source_cannot_have_are_told_before_anything_is_searched():
    sources = deepcopy(recipe(None)["sources"])
    name = next(name for name, row in sources.items() if "finetuning" in row.get("stages", {}))
    sources[name]["stages"]["finetuning"] = {"negatives": "bm25"}
    with pytest.raises(RecipeError, match=rf"sources\.{name}\.stages\.finetuning: max_score_ratio compares cosines"):
        check(sources=sources, mining__supervised={"max_score_ratio": 0.95})
    sources[name]["stages"]["finetuning"] = {"negatives": "rrf", "window": {"first": 1, "last": 500}}
    with pytest.raises(RecipeError, match="the window ends at rank 500, but the search at 100"):
        check(sources=sources)


def test_every_fault_is_named_at_once():
    with pytest.raises(RecipeError) as error:
        check(
            base_model=HUB,
            mining__supervised__encoder=HUB,
            encoding__precision="bf16",
            finetuning={"teacher": {"kind": "cross_encoder", **HUB}, "teacher_precision": "half"},
            reranking__stage2__precision="float16",
            run={"device": "cuda:1"},
        )
    lines = str(error.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "run.device", "encoding.precision", "reranking.stage2.precision", "finetuning.teacher_precision",
        "base_model", "mining.supervised.encoder", "finetuning.teacher",
    ]  # fmt: skip
    assert "has no revision" in lines[5] and "'float32' or 'bfloat16'" in lines[3]


def source(**stages):
    return {"sources": {"faq": {"kind": "question_to_passage", "path": "faq.jsonl", "stages": stages}}}


def test_a_teacher_is_asked_for_where_one_is_needed(tmp_path):
    taught = {"negatives": "rrf", "objective": "margin_mse"}
    with pytest.raises(RecipeError, match=r"finetuning\.teacher\.name: null, but .* of a reranker, and faq learn"):
        check(**source(finetuning=[{"negatives": "rrf"}, taught]))
    check(**source(finetuning={"negatives": "rrf"}))
    check(**source(finetuning=taught, reranking_stage1={"negatives": "bm25"}))
    check(
        **source(finetuning=taught),
        finetuning={"teacher": {"kind": "cross_encoder", "name": str(tmp_path), "revision": None}},
    )


def test_a_recipe_that_would_train_nothing_is_refused():
    for given in ({"sources": {}}, source(), source(pretraining=[])):
        with pytest.raises(RecipeError, match=r"sources: none takes part in any stage"):
            check(**given)


def test_a_base_model_that_is_loaded_may_be_evaluated_as_it_is(tmp_path, caplog):
    check(**source(), base_model={"name": str(tmp_path), "revision": None})
    assert "none takes part in any stage. The base model is evaluated as it is." in caplog.text


def test_more_devices_than_there_are_are_told_when_the_rest_is_right(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RecipeError, match="device 'cuda': torch finds no CUDA device here"):
        check(run={"device": "cuda"}, encoding={"device": "cuda"})


def test_batches_of_a_source_that_has_no_part_in_the_stage_are_refused_before_the_run():
    check(finetuning={"batch_by": {"questions": "title", "inference": None}})
    said = r"finetuning\.batch_by: 'qestions' takes no part in this stage\. Did you mean questions\?"
    with pytest.raises(RecipeError, match=said):
        check(finetuning={"batch_by": {"qestions": "title"}})


def test_a_misspelt_key_is_refused_before_the_run():
    with pytest.raises(RecipeError, match=r"bm25\.analyser: there is no such parameter\. Did you mean analyzer\?"):
        check(bm25={"analyser": "ja"})
    with pytest.raises(RecipeError, match=r"finetunning: there is no such parameter\. Did you mean finetuning\?"):
        check(finetunning={})


def test_a_name_of_ones_own_begins_with_an_underscore_or_comes_with_params():
    assert check(_shared={"rate": 1}) is None
    with pytest.raises(RecipeError, match=r"shelf: there is no such parameter.* begins with _"):
        check(shelf=3)
    assert check(shelf=3, given=["shelf"]) is None, "${runtime_params:shelf} of the user's own catalog"


def test_only_what_the_run_needs_is_checked():
    teacher = {"teacher": {"kind": "cross_encoder", **HUB}}
    check(pipeline=pretraining.create_pipeline(), finetuning=teacher)
    with pytest.raises(RecipeError, match=r"finetuning.teacher: model 'cl-nagoya/ruri-base' is not a local folder"):
        check(
            pipeline=finetuning.create_pipeline(),
            finetuning={"teacher": {"kind": "cross_encoder", **HUB}},
            base_model=HUB,
        )


def test_on_the_command_line_it_is_a_message():
    with click.Context(click.Command("run")), pytest.raises(click.ClickException, match="base_model"):
        check(base_model=HUB)


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
        ({"_sizes": {"../small": {}}}, "_sizes: the name '../small'"),
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
    for env in ("base", "mini", "ruri", "ruri-released", "ruri-v3"):
        paths = sorted((REPOSITORY / "conf" / env).glob("parameters*.yml"))
        assert paths, env
        for path in paths:
            params = yaml.safe_load(path.read_text("utf-8"))
            check_recipe_names({**params, "recipe": "x", "sources": params.get("sources") if env != "base" else {},
                                "tasks": params.get("tasks") if env != "base" else {}, "promotion": {}})  # fmt: skip
