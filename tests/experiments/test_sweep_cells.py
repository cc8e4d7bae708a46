"""The cells of a sweep: what each is given, what is refused, which are chosen."""

import json
from functools import cache

import numpy as np
import pytest
from recipes import recipe

from ruri_kedro.errors import RecipeError
from ruri_kedro.experiments.item_tests import item_tests
from ruri_kedro.experiments.sweep_cells import parse_grid
from ruri_kedro.experiments.sweep_report import sweep_report
from ruri_kedro.experiments.sweep_settings import SweepSettings
from ruri_kedro.experiments.sweep_tables import cell_table, chosen_cells
from ruri_kedro.recipe.parse import parse

ENV = "simcse-mini"


def settings(**changes):
    return parse(SweepSettings, loaded("{}")["sweep"] | changes, "sweep")


def variants(changes):
    return loaded(json.dumps(changes))


@cache
def loaded(changes):
    return recipe(ENV, **json.loads(changes))


def test_the_mini_sweep_has_48_runs():
    found = settings()
    cells = parse_grid(found, variants)
    assert len(cells) == 16 and len(found.seeds) == 3
    assert [cell.title for cell in cells[:2]] == [
        "set=janli, finetuning.batch_size=64, finetuning.learning_rate=5e-05",
        "set=janli, finetuning.batch_size=64, finetuning.learning_rate=0.0002",
    ]
    last = cells[-1]
    assert list(last.params["sources"]) == ["tanaka"] and last.params["finetuning"]["batch_size"] == 256
    assert last.parameters({}, 7)["run"]["seed"] == 7 and last.params["run"]["seed"] == 42
    assert list(last.told("score_finetuned", "params:tasks", last.params["tasks"])) == ["jsick", "jsts_val"]
    assert "jsts_train" in last.with_all_tests().told("score_finetuned", "params:tasks", last.params["tasks"])
    assert last.told("read_tasks", "params:tasks", last.params["tasks"]) == last.params["tasks"]
    assert last.wanted == "scores_finetuned"
    assert last.untrained().reads("score_finetuned", "embedder") == "base_model"
    assert last.reads("score_finetuned", "embedder") == "embedder"
    run = last.parameters({}, 7)["run"]
    assert last.told("finetune", "params:run", run)["seed"] == 7
    assert last.told("pretrain", "params:run", run)["seed"] == 42, "it hands its model on, whatever the seed"


def test_the_papers_grid_is_that_of_the_paper():
    from ruri_kedro.experiments.cells import parse_seeds

    found = recipe("simcse")["sweep"]
    assert found["grid"]["finetuning.batch_size"] == [64, 128, 256, 512]
    assert found["grid"]["finetuning.learning_rate"] == [1e-5, 3e-5, 5e-5]
    assert len(parse_seeds(found, "sweep")) == 5
    training = recipe("simcse")["finetuning"]
    assert (training["max_examples"], training["temperature"], training["max_length"]) == (2**20, 0.05, 64)
    assert training["development"] == {"task": "jsick_train", "evaluations": 64, "items": None, "keep": "best"}


def test_a_label_stands_for_several_parameters():
    grid = {"base": {"own": {"base": "folder/own", "finetuning.batch_size": 32}, "e5": {}}, "set": ["rte"]}
    own, e5 = parse_grid(settings(grid=grid, groups=["base", "set"]), variants)
    assert own.values == {"base": "own", "set": "rte"}
    assert (own.params["base_model"]["name"], own.params["finetuning"]["batch_size"]) == ("folder/own", 32)
    assert e5.params["base_model"]["name"] == "intfloat/multilingual-e5-small"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"grid": {}, "groups": []}, "sweep: the recipe has none. Give sweep.grid"),
        ({"choose": None}, "sweep: the recipe has none"),
        ({"groups": ["sets"]}, "sweep.groups: 'sets' is not in the grid"),
        ({"grid": {"set": []}}, "sweep.grid.set: no value is given"),
        ({"grid": {"set": ["rte"], "seed": [1]}}, "sweep.grid.seed: it is the same for all cells"),
        ({"grid": {"set": ["rte"], "finetuning.batchsize": [8]}}, "finetuning.batchsize: there is no such parameter"),
        ({"choose": {"task": "jsick", "metric": "spearman", "split": "development"}},
         "sweep.choose.task: 'jsick', but finetuning.development measures the training on something else"),
        ({"choose": {"task": "jsick", "metric": "spearman", "split": "test"}}, "expected is 'development'"),
        ({"chosen_tasks": ["jsts"]}, "sweep.chosen_tasks: 'jsts' is not a task of the recipe"),
        ({"model": "base_model"}, "'base_model' is not the model of a stage"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_sweep_is_said(changes, reason):
    with pytest.raises(RecipeError, match=reason):
        parse_grid(settings(**changes), variants)


def row(name, rate, seed, dev, test, reason=None, trained=True):
    values = {"set": name, "finetuning.batch_size": 64, "finetuning.learning_rate": rate}
    figures = {"best-step": 8.0, "best-dev": dev, "jsick/spearman": test, "avg": test}
    return {"cell": f"{name} {rate}", "values": values, "seed": seed, "trained": trained, "reason": reason,
            "figures": {} if reason else figures, "seconds": {"finetune-1": 5.0}}  # fmt: skip


ROWS = [
    *(row("janli", 1e-5, seed, 70 + seed, 60 + seed) for seed in range(3)),
    *(row("janli", 5e-5, seed, 75 - seed, 90) for seed in range(3)),  # a mean of 74, of which a test knows nothing
    *(row("rte", 1e-5, seed, 80, 50 - seed) for seed in range(3)),
    row("rte", 5e-5, 0, 0, 0, reason="TrainingError: the loss is not finite"),
    row("janli", 1e-5, 0, 0, 40, trained=False),
]


def test_cells_are_chosen_by_the_mean_of_their_development_figures():
    cells = parse_grid(settings(), variants)
    trained = [row for row in ROWS if row["trained"]]
    table = cell_table(trained, settings())
    assert table["count"].tolist() == [3, 3, 3]
    assert table["best-dev"].tolist() == [71, 74, 80] and table["avg-std"].tolist() == [1, 0, 1]
    known = [cell for cell in cells if cell.values["finetuning.learning_rate"] == 5e-5]
    assert len(chosen_cells(trained, settings(), known)) == 1


NOISE = np.random.default_rng(0).normal(0, 0.01, 200)


def scores(jsick, jsts):
    """Of two tests by pair, and a test that has a score of the whole task."""
    made = {("jsick", "spearman"): jsick, ("jsts", "spearman"): jsts}
    return {measure: {str(n): float(v) for n, v in enumerate(values)} for measure, values in made.items()} | {
        ("news", "v_measure"): {"": 0.5}
    }


ITEMS = {
    "janli": [scores(0.6 + NOISE, NOISE[:50]), scores(0.6 - NOISE, NOISE[:50])],
    "rte": [scores(0.5 + 0 * NOISE, NOISE[:50])],
    "failed": [],
}


def test_models_are_compared_on_what_both_have_by_item():
    found = item_tests(ITEMS, [("janli", "rte"), ("janli", "failed"), ("failed", "rte")])
    assert [(row["task"], row["metric"], row["items"]) for row in found] == [
        ("jsick", "spearman", 200), ("jsts", "spearman", 50),
    ]  # fmt: skip
    assert found[0]["difference"] == pytest.approx(0.1) and found[0]["p"] < 0.01 and found[1]["p"] == 1
    one = {("intents", "macro_f1"): {"": 0.9}, ("intents", "accuracy"): dict.fromkeys("abcdefghij", 1.0)}
    other = {("intents", "macro_f1"): {"": 0.1}, ("intents", "accuracy"): dict.fromkeys("abcdefghij", 0.0)}
    [intents] = item_tests({"one": [one], "other": [other]}, [("one", "other")])
    assert (intents["metric"], intents["p"]) == ("accuracy", 2**-9), "in place of F1, which no text has for itself"


def test_the_report_says_what_was_chosen_what_differs_and_what_failed():
    table, best, maps, text = sweep_report(ROWS, [], item_tests(ITEMS, [("janli", "rte")]), settings(), "simcse-mini")
    assert len(table) == 3 and best["set"].tolist() == ["janli", "rte"]
    assert "| janli | 64 | 5e-05 | 74.00 ± 1.00 | 8.00 ± 0.00 | 90.00 ± 0.00 | 90.00 ± 0.00 |" in text
    assert "| janli - untrained | +50.00 ± 0.00 | 3 | 0.750 |" in text and "| janli - rte | +41.00 ± 1.00 | 3 |" in text
    assert "p is 0.25 or more" in text
    assert "- rte 5e-05, seed 0: failed. TrainingError: the loss is not finite" in text
    assert "without sharing steps the same cells take" in text
    assert (
        "| janli - rte | jsick/spearman | +10.00 | 200 | 0.000" in text
        and "| janli - rte | jsts/spearman | +0.00 | 50 | 1.0000 |" in text
    )
    assert maps.count("<g ") == 1 and ">74.00</text>" in maps and "![Heat maps](sweep_maps.svg)" in text
