"""A recipe that would stop a run after hours is refused before it starts."""

import click
import pytest
from kedro.io import DataCatalog, MemoryDataset
from train_tables import SETTINGS, stage

from ruri_kedro.checks import CheckHooks
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
        parameters[name] = parameters[name] | change
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


def test_only_what_the_run_needs_is_checked(tmp_path):
    check(tmp_path, pipeline=pretraining.create_pipeline(), finetuning={"teacher": HUB})
    with pytest.raises(RecipeError, match=r"finetuning.teacher: model 'cl-nagoya/ruri-base' is no local folder"):
        check(tmp_path, pipeline=finetuning.create_pipeline(), finetuning={"teacher": HUB}, base_model=HUB)


def test_on_the_command_line_it_is_a_message(tmp_path):
    with click.Context(click.Command("run")), pytest.raises(click.ClickException, match="base_model"):
        check(tmp_path, base_model=HUB)
