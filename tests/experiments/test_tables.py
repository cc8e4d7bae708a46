"""The tables of the ablations: means, deviations, differences by seed, and what the paper found."""

import copy

import pytest
from pytest import approx

from ruri_kedro.errors import RecipeError
from ruri_kedro.experiments.tables import ablation_tables, frame, markdown, plot

SETTINGS = {
    "stages": {
        "title": "Two stages",
        "columns": ["q/ndcg@10", "q/mrr@10"],
        "paper_columns": ["JQaRA", "JaCWIR"],
        "cells": {
            "one": {"label": "stage 1 only", "against": "both", "paper": {"small": [60.0, 90.0], "base": [70.0, 95.0]}},
            "both": {"label": "both", "paper": {"small": [65.0, 91.0], "base": [75.0, 94.0]}},
            "new": {"label": "ours", "against": "both"},
        },
    }
}
SCORES = {
    "stages": {
        "one": {"1": {"q/ndcg@10": 0.50, "q/mrr@10": 0.6}, "2": {"q/ndcg@10": 0.54, "q/mrr@10": 0.8}},
        "both": {"1": {"q/ndcg@10": 0.60, "q/mrr@10": 0.7}, "2": {"q/ndcg@10": 0.58, "q/mrr@10": 0.7}},
        "new": {"1": {"q/ndcg@10": 0.60, "q/mrr@10": 0.7}, "2": {"q/ndcg@10": 0.58, "q/mrr@10": 0.7}},
    }
}


def test_means_and_deviations_are_over_the_seeds():
    table = frame(ablation_tables(SCORES, SETTINGS)).set_index(["cell", "figure"])
    row = table.loc[("one", "q/ndcg@10")]
    assert row["mean"] == approx(0.52) and row["deviation"] == approx(0.04 / 2**0.5) and row["seeds"] == 2
    assert row["difference"] == approx(-0.07) and row["difference_deviation"] == approx(0.06 / 2**0.5)


def test_a_difference_of_both_signs_is_called_mixed_and_the_papers_sign_is_counted():
    text = markdown("toy", ablation_tables(SCORES, SETTINGS))
    assert "| stage 1 only − both | -7.00 ± 4.24 | +0.00 ± 14.14 (mixed) | yes: lower in " in text
    assert "in 3 of 4 of the paper's (-2.5 in the mean)" in text  # -5, -1, -5, +1
    assert "| ours − both | +0.00 ± 0.00 (mixed) | +0.00 ± 0.00 (mixed) | not in the paper |" in text
    assert "| paper, small: both | - | - | 65.0 | 91.0 |" in text


@pytest.mark.parametrize(
    ("own", "answer"),
    [((0.5, 0.5), "no difference"), ((0.4, 0.45), "yes:"), ((0.3, 0.6), "yes, but not in every seed"),
     ((0.6, 0.7), "no:"), ((0.9, 0.4), "no, but not in every seed")],
)  # fmt: skip
def test_the_verdict_is_by_sign_and_by_seed(own, answer):
    """The paper has the cell below the other one; the other one scores 0.5 with both seeds."""
    cells = {"one": own, "both": (0.5, 0.5)}
    scores = {cell: {str(seed): {"q": value} for seed, value in enumerate(values)} for cell, values in cells.items()}
    settings = {"stages": SETTINGS["stages"] | {"columns": ["q"]}}
    assert f"| {answer}" in markdown("toy", ablation_tables({"stages": scores}, settings))


def test_figures_of_unlike_metrics_are_counted_not_averaged():
    """One falls as in the paper, the other rises by far more."""
    scores = {"one": {"1": {"q": 0.4, "r": 0.9}}, "both": {"1": {"q": 0.5, "r": 0.2}}}
    settings = {"stages": SETTINGS["stages"] | {"columns": ["q", "r"]}}
    assert "as often as not: lower in 1 of 2 figures here" in markdown(
        "toy", ablation_tables({"stages": scores}, settings)
    )


def test_the_report_says_the_steps_of_each_objective():
    scores = copy.deepcopy(SCORES)
    trained = {
        "one": {"finetuning/contrastive": 120},
        "new": {"finetuning/distillation": 10, "finetuning/contrastive": 110},
    }
    for cell, steps in trained.items():
        for means in scores["stages"][cell].values():
            means |= {f"steps/{name}": count for name, count in steps.items()}
    text = markdown("r", ablation_tables(scores, SETTINGS))
    assert "Steps of the trainings" not in markdown("r", ablation_tables(SCORES, SETTINGS))
    table = text.split("Steps of the trainings")[1]
    assert "| Model | finetuning/contrastive | finetuning/distillation |" in table
    assert "| stage 1 only | 120 | - |" in table and "| both | - | - |" in table and "| ours | 110 | 10 |" in table
    assert "steps/" not in text


def test_a_single_seed_has_no_deviation():
    scores = {"stages": {cell: {"1": seeds["1"]} for cell, seeds in SCORES["stages"].items()}}
    text = markdown("toy", ablation_tables(scores, SETTINGS))
    assert "| both | 60.00 | 70.00 | - | - |" in text and "±" not in text.split("## ")[1]


def test_a_column_without_a_score_is_named():
    settings = {"stages": SETTINGS["stages"] | {"columns": ["q/recall@3"]}}
    with pytest.raises(RecipeError, match=r"'q/recall@3' is not a score of one. It has: q/ndcg@10, q/mrr@10"):
        ablation_tables(SCORES, settings)


def test_the_plot_has_a_bar_per_cell_and_column(tmp_path):
    figure = plot(ablation_tables(SCORES, SETTINGS))
    [axes] = figure.axes
    heights = [patch.get_height() for patch in axes.patches]
    assert heights == approx([52, 70, 59, 70, 59, 70])
    figure.savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_tests_by_items_stand_behind_the_differences():
    row = {
        "one": "one",
        "other": "both",
        "task": "q",
        "metric": "ndcg@10",
        "items": 60,
        "difference": -0.07,
        "p": 0.0012,
    }
    tests = {"stages": [row, {**row, "task": "elsewhere"}, {**row, "one": "new", "difference": 0.0, "p": 1.0}]}
    text = markdown("toy", ablation_tables(SCORES, SETTINGS), tests)
    assert "|  | q/ndcg@10 |\n| --- | ---: |\n| stage 1 only − both | -7.00 (p 0.0012) |\n" in text
    assert "| ours − both | +0.00 (p 1.0000) |" in text and "elsewhere" not in text
    assert "randomisation test" not in markdown("toy", ablation_tables(SCORES, SETTINGS), {"stages": []})
