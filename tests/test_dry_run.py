"""The hook of a dry run, on the real pipelines and tables of a small training."""

from dataclasses import asdict

import click
import pytest
from kedro.io import DataCatalog, MemoryDataset
from tiny import BASE_MODEL, PROMPTS, tiny_encoder
from tiny_fit import WATCHED
from train_tables import ADAPTATION, FINETUNING, PRETRAINING, RERANKING, examples_table, tables

from ruri_kedro.errors import RecipeError
from ruri_kedro.hooks.dry_run import DryRunHooks
from ruri_kedro.pipelines import adaptation, finetuning, pretraining, reranking


def catalog(tmp_path, **parameters) -> DataCatalog:
    """What the trainings read: a base model in a folder, examples of two sources, parameters."""
    tiny_encoder().save_pretrained(str(tmp_path / "base"))
    listwise, passages = tables(tmp_path / "listwise", "listwise")
    run = {"seed": 1, "device": "cpu", "devices": 1, "threads": 1, "watch": asdict(WATCHED), "held_out": None,
           "allow_untrained": False}  # fmt: skip
    data = {
        "passages": passages,
        "pretraining_examples": tables(tmp_path / "contrastive")[0],
        "reranking_stage1_examples": listwise,
        "reranking_stage2_examples": listwise,
        "finetuning_examples": tables(tmp_path / "distillation", "distillation")[0],
        "params:run": {**run, "checkpoints": str(tmp_path / "checkpoints")},
        "adaptation_examples": tables(tmp_path / "read", "masked_language_modelling")[0],
        "params:adaptation": ADAPTATION,
        "params:prompts": PROMPTS,
        "params:seed": 1,
        "params:base_model": BASE_MODEL | {"name": str(tmp_path / "base")},
        "params:pretraining": PRETRAINING,
        "params:reranking.stage1": RERANKING,
        "params:reranking.stage2": RERANKING | {"batch_size": 8, "epochs": 3},
        "params:finetuning": FINETUNING | {"epochs": 2},
        **parameters,
    }
    return DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in data.items()})


ROOMS = (pretraining, reranking, finetuning)
PIPELINE = sum((room.create_pipeline() for room in ROOMS), start=adaptation.create_pipeline())


def test_every_training_of_a_run_is_estimated_and_nothing_is_kept(tmp_path, capsys):
    known = catalog(tmp_path, **{"params:dry_run": True})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(click.exceptions.Exit) as end:
        DryRunHooks().before_pipeline_run({"runtime_params": {}}, PIPELINE, known)
    assert end.value.exit_code == 0
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.split()}
    steps = {"pretraining": "6", "reranking_stage1": "6", "reranking_stage2": "9", "finetuning": "12"}
    assert {name: rows[name][2] for name in steps} == steps and {rows[name][1] for name in steps} == {"24"}
    assert "finetuning: the teacher has not yet dropped weak positives" in said
    assert "Time together" in said and said.endswith("Dry run: nothing was trained or stored.\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_training_that_cannot_start_is_named_beside_the_cost_of_the_others(tmp_path, capsys):
    first, _ = tables(tmp_path / "contrastive")
    rows = [row | {"positive": "35", "negatives": []} for row in first.iter_rows(["nli"])]
    alike = examples_table(tmp_path / "alike", {"faq": list(first.iter_rows(["faq"])), "nli": rows})
    known = catalog(tmp_path, pretraining_examples=alike, **{"params:dry_run": True})
    both = adaptation.create_pipeline() + pretraining.create_pipeline()
    both += reranking.create_pipeline().only_nodes("train_reranker_stage1")
    with pytest.raises(RecipeError, match=r"pretraining would learn nothing from 1 .*\n  nli \(contrastive\)"):
        DryRunHooks().before_pipeline_run({"runtime_params": {}}, both, known)
    assert "reranking_stage1: steps by source: faq (listwise)" in capsys.readouterr().out


@pytest.mark.parametrize("parameters", [{}, {"params:dry_run": False}])
def test_other_runs_go_on(tmp_path, parameters, capsys):
    known = DataCatalog({name: MemoryDataset(value) for name, value in parameters.items()})
    assert DryRunHooks().before_pipeline_run({"runtime_params": {}}, PIPELINE, known) is None
    assert capsys.readouterr().out == ""
