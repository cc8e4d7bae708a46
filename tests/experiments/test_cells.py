"""The ablations on a recipe of small functions: what is shared, what is done once, what a kill leaves."""

import copy
import json
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import CatalogConfigResolver
from kedro.pipeline import Node, Pipeline
from kedro_project import REPOSITORY

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.experiments import steps
from ruri_kedro.experiments.cells import parse_cells, parse_seeds
from ruri_kedro.pipeline_registry import register_pipelines
from ruri_kedro.pipelines.ablations import nodes
from ruri_kedro.settings import CONFIG_LOADER_ARGS
from ruri_kedro.tables import Part
from ruri_kedro.tables.code import behaviour_digest

ENTRIES = {
    "scores_{model}": {"type": "ruri_kedro.datasets.TableDataset", "filepath": "x/{model}", "schema": "scores"},
    "examples": {"type": "ruri_kedro.datasets.TableDataset", "filepath": "x/examples", "schema": "test_texts"},
    "{default}": {"type": "json.JSONDataset", "filepath": "x/{default}.json"},
}
RECIPE = {
    "recipe": "toy",
    "seed": 1,
    "run": {"seed": 1, "checkpoints": "nowhere"},
    "sources": {"a": {"path": "a", "stages": {"pretraining": {"negatives": "bm25"}, "finetuning": []}},
                "b": {"path": "b", "stages": {"pretraining": {}, "reranking_stage1": {}}}},
    "tasks": {"task": {"type": "retrieval"}},
    "development": {},
    **dict.fromkeys(("deduplication", "leaks", "consistency", "only", "engine")),
    "pretraining": {"epochs": 1},
    "reranking": {"stage1": {"rate": 0.1}, "stage2": {"rate": 0.01}},
    "finetuning": {"epochs": 2},
}  # fmt: skip
TABLES = {
    "stages": {
        "title": "Stages",
        "columns": ["task/ndcg@10"],
        "cells": {
            "first": {"label": "1", "model": "reranker_stage1", "against": "both"},
            "both": {"label": "1 to 2", "model": "reranker"},
            "bare": {"label": "no pre-training", "model": "reranker",
                     "data": {"stage1": {"pretrained_model": "base_model"}}, "against": "both"},
        },
    },
    "tuning": {
        "title": "Tuning",
        "columns": ["task/ndcg@10"],
        "cells": {
            "tuned": {"label": "tuned", "model": "embedder"},
            "longer": {"label": "longer", "model": "embedder", "params": {"finetuning": {"epochs": 9}}},
            "less": {"label": "less", "model": "pretrained_model", "without": {"pretraining": ["b"]}},
        },
    },
}  # fmt: skip


class Toy:
    """Nodes that write down what they were made of, and a list of those that ran."""

    def __init__(self):
        self.ran, self.written, self.broken, self.code = [], [], None, {}
        named = [
            ("examples", self.examples, ["passages", "params:sources"], "examples"),
            ("base", self.made, ["passages", "params:seed"], "base_model"),
            (
                "pretrain",
                self.trained,
                ["base_model", "examples", "params:pretraining", "params:run"],
                "pretrained_model",
            ),
            ("stage1", self.made, ["pretrained_model", "params:reranking.stage1", "params:run"], "reranker_stage1"),
            ("stage2", self.made, ["reranker_stage1", "params:reranking.stage2", "params:run"], "reranker"),
            ("finetune", self.made, ["pretrained_model", "reranker", "params:finetuning"], "embedder"),
            ("search_reranker", self.made, ["reranker", "test_sets"], "runs_reranker"),
            ("score_reranker", self.scores, ["runs_reranker"], "scores_reranker"),
            ("search_finetuned", self.made, ["embedder", "test_sets"], "runs_finetuned"),
            ("score_finetuned", self.scores, ["embedder", "runs_finetuned"], "scores_finetuned"),
        ]  # fmt: skip
        self.nodes = Pipeline([Node(self.recorded(name, func), inputs, output, name=name)
                               for name, func, inputs, output in named])  # fmt: skip

    def recorded(self, name, func):
        def run(*inputs):
            self.ran.append(name)
            if self.broken == name:
                raise TrainingError("the loss is not a number")
            return func(*inputs)

        run.__module__ = f"toy.{name}"
        return run

    def made(self, *inputs):
        return [item if isinstance(item, dict | list | int) else "data" for item in inputs]

    def trained(self, *inputs):
        """A training: it leaves its steps beside its checkpoints."""
        folder = Path(inputs[-1]["checkpoints"]) / "pretraining"
        folder.mkdir(parents=True)
        (folder / "steps.json").write_text(json.dumps({"objectives": {"contrastive": 7}, "sources": []}))
        return self.made(*inputs)

    def examples(self, passages, sources):
        def rows(name):
            self.written.append(name)
            yield [{"test": name, "role": "query", "item_id": "1", "text": "t"}]

        chosen = [name for name, row in sources.items() if "pretraining" in row["stages"]]
        return {name: Part(name, lambda name=name: rows(name)) for name in chosen}

    def scores(self, *inputs):
        score = (zlib.crc32(repr(inputs).replace("-whole", "").encode()) % 1000) / 1000
        row = {"model": "m", "task": "task", "metric": "ndcg@10", "query_id": "q", "score": score}
        return {"task": Part(str(score), lambda: iter([[row]]))}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    toy = Toy()
    monkeypatch.setattr(nodes, "recipe_nodes", lambda: toy.nodes)
    digest = lambda work, *more: toy.code.get(work.__module__, "first version")  # noqa: E731
    monkeypatch.setattr(steps, "behaviour_digest", digest)
    monkeypatch.setattr(nodes, "stored_digest", lambda folder, name: name)
    toy.recipe = copy.deepcopy(RECIPE) | {
        "ablations": {"folder": str(tmp_path / "cells"), "seeds": [1], "only": None, "tables": copy.deepcopy(TABLES)}
    }
    toy.digest = "d"
    return toy


def run(toy, **changes):
    """The scores of a run, whose nodes are then in `toy.ran`."""
    toy.ran = []
    toy.recipe["ablations"] |= changes
    table = SimpleNamespace(digest=lambda: toy.digest)
    scores, toy.tests = nodes.run_cells(
        toy.recipe, CatalogConfigResolver(ENTRIES), "sets", "development", passages=table
    )
    return scores


def test_what_cells_have_in_common_is_done_once(toy):
    scores = run(toy, only="stages")
    assert sorted(toy.ran) == sorted(
        ["examples", "base", "pretrain", "stage1", "stage2", "stage1", "stage2"]
        + ["search_reranker", "score_reranker"] * 3
    )
    assert list(scores["stages"]) == ["first", "both", "bare"]
    assert {seed for cell in scores["stages"].values() for seed in cell} == {"1"}
    pairs = [(row["one"], row["other"], row["task"], row["items"]) for row in toy.tests["stages"]]
    assert pairs == [("first", "both", "task", 1), ("bare", "both", "task", 1)]


def test_a_finished_cell_is_never_done_again(toy):
    first = run(toy)
    assert run(toy) == first and toy.ran == []


FINETUNED = {"finetune", "search_finetuned", "score_finetuned"}


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda recipe: recipe["finetuning"].update(epochs=3), FINETUNED),
        (lambda recipe: recipe["reranking"]["stage2"].update(rate=1),
         FINETUNED | {"stage2", "search_reranker", "score_reranker"}),
        (lambda recipe: recipe["run"].update(checkpoints="elsewhere"), set()),
        (lambda recipe: recipe.update(other=1), set()),
    ],
)  # fmt: skip
def test_a_changed_parameter_repeats_what_depends_on_it(toy, change, again):
    run(toy)
    change(toy.recipe)
    run(toy)
    assert set(toy.ran) == again


def test_changed_code_repeats_the_step_and_what_depends_on_it(toy):
    run(toy)
    toy.code["toy.finetune"] = "second version"
    run(toy)
    assert set(toy.ran) == FINETUNED
    toy.code.clear()
    run(toy)
    assert toy.ran == [], "what the first version made is still there"


def test_the_code_of_every_step_of_the_recipe_is_known():
    recipe_nodes = nodes.recipe_nodes().nodes
    digests = {node.name: behaviour_digest(node.func) for node in recipe_nodes}
    assert digests["score_base"] == digests["score_finetuned"], "one function does both"
    assert len({digests[name] for name in ("make_base_model", "pretrain", "finetune", "search_reranker")}) == 4


def test_changed_data_repeat_everything(toy):
    run(toy, only="stages")
    toy.digest = "other"
    run(toy)
    assert {"examples", "base", "pretrain", "stage1", "stage2"} <= set(toy.ran)


def test_a_cell_that_failed_goes_on_where_it_stopped(toy):
    whole = run(toy, folder=toy.recipe["ablations"]["folder"] + "-whole")
    toy.broken = "stage2"
    with pytest.raises(TrainingError, match="the loss is not a number"):
        run(toy, folder=toy.recipe["ablations"]["folder"].removesuffix("-whole"))
    assert toy.ran[-1] == "stage2"
    toy.broken = None
    again = run(toy)
    assert not {"base", "examples"} & set(toy.ran[:2]) and toy.ran[0] == "stage2"
    assert again == whole


def test_seeds_share_what_no_seed_changes(toy):
    scores = run(toy, only="stages", seeds=[1, 2])
    assert toy.ran.count("examples") == 1 and toy.ran.count("base") == 2
    first, second = scores["stages"]["both"].values()
    assert first != second


def test_a_step_keeps_its_checkpoints_in_its_own_folder(toy, tmp_path):
    run(toy, only="stages")
    made = [path.read_text() for path in (tmp_path / "cells").glob("stage1-*/reranker_stage1.json")]
    assert len(made) == 2
    assert all(".checkpoints" in text and "nowhere" not in text for text in made)
    assert len({text.split("checkpoints")[1] for text in made}) == 2


def test_every_cell_has_the_steps_of_its_trainings_also_of_those_done_for_another(toy):
    for again in (False, True):
        scores = run(toy)
        assert bool(toy.ran) is not again
        steps = {
            f"{table}/{cell}": means.get("steps/pretraining/contrastive")
            for table, cells in scores.items() for cell, seeds in cells.items() for means in seeds.values()
        }  # fmt: skip
        bare = steps.pop("stages/bare")
        assert bare is None and set(steps.values()) == {7}


def test_a_source_left_out_leaves_the_parts_of_the_others(toy, tmp_path):
    run(toy)
    assert sorted(toy.written) == ["a", "b"], "the part of a was made once, for both cells"
    folders = [sorted(part.parent.name for part in folder.glob("examples/*/manifest.json"))
               for folder in (tmp_path / "cells").glob("examples-*")]  # fmt: skip
    assert sorted(folders) == [["a"], ["a", "b"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "teacher"}, "cells.both.model: 'teacher' is unknown. Known: adapted_model, base_model"),
        ({"label": None, "models": 1}, "cells.both.models: there is no such parameter. Did you mean model?"),
        ({"params": {"finetuning": {"epoch": 1}}}, "stages/both: params.finetuning.epoch: the recipe has no such"),
        ({"params": {"leaks": 1}}, "cells.both.params.leaks: passages and pairs are made with it"),
        ({"params": {"sources": {"a": {"path": "c"}}}}, "cells.both.params.sources: passages and pairs"),
        ({"copies": {"reranking.stage1": "reranking.stage3"}}, "the recipe has no parameter 'reranking.stage3'"),
        ({"data": {"stage3": {}}}, "cells.both.data: 'stage3' is unknown"),
        ({"data": {"stage1": {"reranker": "base_model"}}}, "cells.both.data.stage1: 'reranker' is unknown"),
        ({"data": {"stage1": {"pretrained_model": "model"}}}, "cells.both.data.stage1: 'model' is unknown"),
        ({"without": {"pretraining": ["c"]}}, "cells.both.without.pretraining: 'c' is unknown. Known: a, b"),
        (
            {"objectives": {"finetuning": {"distil": "contrastive"}}},
            "finetuning.distil: there is no such parameter",
        ),
        (
            {"without": {"reranking_stage1": ["b"]}},
            "cells.both.without: no source is left that takes part",
        ),
        ({"against": "none"}, "cells.both.against: 'none' is unknown. Known: bare, both, first"),
    ],
)
def test_a_cell_that_has_no_meaning_is_refused_before_any_is_run(toy, change, message):
    toy.recipe["ablations"]["tables"]["stages"]["cells"]["both"] |= change
    with pytest.raises(RecipeError) as refused:
        run(toy)
    assert message in str(refused.value) and toy.ran == []


def test_cells_of_a_model_that_the_recipe_does_not_train_are_left_out(toy, caplog):
    toy.recipe["sources"]["b"]["stages"].pop("reranking_stage1")
    caplog.set_level("INFO")
    assert run(toy).keys() == {"tuning"}
    assert "stages/both is left out: the recipe trains no reranker" in caplog.text
    with pytest.raises(RecipeError, match=r"the recipe trains the model of none of these cells"):
        run(toy, only="stages")


def test_a_column_of_a_task_that_the_recipe_has_not_is_refused_before_any_training(toy):
    toy.recipe["tasks"] = {"sts": {"type": "sts"}}
    with pytest.raises(
        RecipeError, match=r"tables\.stages\.columns\.task/ndcg@10: 'task' is unknown. Known: sts, sts_rerank"
    ):
        run(toy)
    assert toy.ran == []


def test_a_table_that_is_not_there_is_named(toy):
    with pytest.raises(RecipeError, match=r"ablations.only: 'table1' is unknown. Known: stages, tuning"):
        run(toy, only="stages table1")


@pytest.mark.parametrize("given", [[3, 4], "3 4", "3,4", ["3", 4, 4]])
def test_seeds_may_come_from_the_command_line(given):
    assert parse_seeds({"seeds": given}) == [3, 4]
    assert parse_seeds({"seeds": 7}) == [7]
    with pytest.raises(RecipeError, match=r"ablations.seeds: 'x y' is not a list of whole numbers"):
        parse_seeds({"seeds": "x y"})


def test_benchmarks_whose_data_are_not_there_stop_before_any_cell_is_run(toy, monkeypatch, tmp_path):
    from ruri_kedro.errors import DataError
    from ruri_kedro.experiments import mteb_scores as benchmark

    monkeypatch.setattr("ruri_kedro.benchmark.mteb.tasks.hub_reachable", lambda: False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    toy.nodes += benchmark.create_pipeline()
    toy.recipe["mteb"] = {"prompts": {"ruri": {}}, "tasks": {}, "max_length": 8, "chunk_tokens": 64, "official": {},
                          "device": "cpu"}  # fmt: skip
    toy.recipe |= {"prompts": {"query": "q: ", "document": "d: "}, "task_prompts": {"sts": "q: "}}
    toy.recipe["ablations"]["tables"]["tuning"]["benchmark"] = True
    with pytest.raises(DataError, match=r"the data of 16 of 16 tasks are not in"):
        run(toy, benchmark={"name": "MTEB(jpn, v1)", "prompts": "ruri"})
    assert toy.ran == []


def test_parameters_take_after_others_and_objectives_are_replaced():
    recipe = copy.deepcopy(RECIPE)
    recipe["sources"]["a"]["stages"]["finetuning"] = [{"objective": "distillation"}, {"negatives": "given"}]
    row = {"label": "l", "model": "reranker", "copies": {"reranking.stage1": "reranking.stage2"},
           "objectives": {"finetuning": {"distillation": "contrastive"}}}  # fmt: skip
    settings = {"only": None, "tables": {"t": {"cells": {"c": row}}}}
    [cell] = parse_cells(settings, recipe, Pipeline([]))
    params = cell.parameters(recipe, 7)
    assert params["reranking"]["stage1"] == {"rate": 0.01} and params["seed"] == params["run"]["seed"] == 7
    rows = params["sources"]["a"]["stages"]["finetuning"]
    assert [row["objective"] for row in rows] == ["contrastive", "contrastive"]
    assert recipe["seed"] == 1 and recipe["reranking"]["stage1"] == {"rate": 0.1}, "the recipe stays as it is"


def test_the_default_run_has_no_ablations():
    pipelines = register_pipelines()
    assert {"ablations.run_cells", "data_engineering.pairs"} <= {node.name for node in pipelines["ablations"].nodes}
    assert "ablations.run_cells" not in {node.name for node in pipelines["__default__"].nodes}


def recipe_of(env):
    loader = OmegaConfigLoader(str(REPOSITORY / "conf"), env=env, **CONFIG_LOADER_ARGS)
    return loader["parameters"]


@pytest.mark.parametrize("env", ["base", "mini", "ruri"])
def test_the_cells_of_every_recipe_have_a_meaning(env):
    params = recipe_of(env)
    cells = parse_cells(params["ablations"], params, nodes.recipe_nodes())
    tables = {cell.table for cell in cells}
    assert tables == {"table6", "table7", "table12", "table13", "distillation"}


@pytest.mark.parametrize(
    ("cell", "other", "first"),
    [
        ("distillation/without", "distillation/with", "mining_supervised.choose_finetuning_examples"),
        ("table12/without", "table12/with", "mining_pretraining.index"),
        ("table13/without", "table13/both", "finetune"),
    ],
)
def test_a_cell_repeats_nothing_before_what_it_changes(cell, other, first):
    params, recipe_nodes = recipe_of("base"), nodes.recipe_nodes()
    cells = {one.title: one for one in parse_cells(params["ablations"], params, recipe_nodes)}
    given = {name: "digest" for name in recipe_nodes.inputs() if not name.startswith("params:")}
    ours, theirs = (steps.plan(cells[name], 1, params, recipe_nodes, given) for name in (cell, other))
    shared = {step.key for step in theirs}
    made = [step.node.name for step in ours if step.key not in shared]
    ancestors = {node.name for node in recipe_nodes.to_nodes(first).nodes} - {first}
    assert made[0] == first and not ancestors & set(made)
