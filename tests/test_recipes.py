"""The recipes of the paper hold the paper's numbers."""

import pytest
from kedro.config import OmegaConfigLoader
from kedro_project import REPOSITORY

from ruri_kedro.settings import CONFIG_LOADER_ARGS

TABLE_2 = {
    "small": "line-corporation/line-distilbert-base-japanese",
    "base": "tohoku-nlp/bert-base-japanese-v3",
    "large": "tohoku-nlp/bert-large-japanese-v2",
}
# Table 14, its rows by size; what is written once is the same for all of them.
PRETRAINING = {
    "learning_rate": {"small": 1e-4, "base": 5e-5, "large": 3e-5},
    "max_length": {"small": 256, "base": 256, "large": 192},
    "batch_size": 8192,
    "warmup_ratio": 0.1,
    "epochs": 1,
    "temperature": 0.01,
    "weight_decay": 0.01,
    "homogeneous": True,
    "shuffle_positives": True,
    "freeze_position_embeddings": True,  # Section 2.4
}
FINETUNING = {
    "learning_rate": {"small": 1e-5, "base": 5e-6, "large": 3e-6},
    "max_length": 512,
    "batch_size": 512,
    "warmup_ratio": 0.1,
    "epochs": 1,
    "temperature": 0.01,
    "weight_decay": 0.01,
    "homogeneous": True,
    "threshold": 0.8,  # Section 4.1
}
# Table 15
STAGE1 = {
    "learning_rate": {"small": 1e-4, "base": 5e-5, "large": 3e-5},
    "max_length": 256,
    "batch_size": 512,
    "warmup_ratio": 0.1,
    "epochs": 1,
    "weight_decay": 0.01,
}
STAGE2 = STAGE1 | {
    "learning_rate": {"small": 1e-5, "base": 5e-6, "large": 3e-6},
    "max_length": 512,
    "batch_size": 64,
}
NEGATIVES = {"reranking_stage1": 63, "reranking_stage2": 63, "finetuning": 15}
RERANKED = {"jsquad", "autowikiqa_nemo", "jaquad", "quiz_no_mori", "quiz_works", "jqara", "miracl", "mr_tydi", "mkqa"}
DISTILLED = {"quiz_no_mori", "quiz_works", "jqara", "miracl", "mr_tydi"}


def recipe(env, kind="parameters", **runtime):
    """Parameters as a run would have them."""
    folder = str(REPOSITORY / "conf")
    return OmegaConfigLoader(conf_source=folder, env=env, runtime_params=runtime, **CONFIG_LOADER_ARGS)[kind]


def column(rows, size):
    """The column of a table that is for one size."""
    return {name: value[size] if isinstance(value, dict) else value for name, value in rows.items()}


@pytest.mark.parametrize("size", TABLE_2)
def test_every_row_of_the_papers_tables_is_in_the_recipe(size):
    found = recipe("ruri", size=size)
    assert found["base_model"]["name"] == TABLE_2[size]
    stages = {
        "pretraining": (found["pretraining"], PRETRAINING),
        "finetuning": (found["finetuning"], FINETUNING),
        "stage1": (found["reranking"]["stage1"], STAGE1),
        "stage2": (found["reranking"]["stage2"], STAGE2),
    }
    for name, (settings, rows) in stages.items():
        expected = column(rows, size)
        assert {key: settings.get(key) for key in expected} == expected, name
    assert found["mining"]["pretraining"]["negatives"] == 1  # Table 14
    assert found["mining"]["supervised"]["negatives"] == NEGATIVES
    assert found["mining"]["supervised"]["window"] == {"first": 30, "last": 100}
    assert found["mteb"]["max_length"] == found["encoding"]["max_length"] == 512  # Table 9
    assert found["prompts"] == {"query": "クエリ: ", "document": "文章: "}
    large = "cl-nagoya/ruri-reranker-large"
    assert found["finetuning"]["teacher"]["name"] == (None if size == "large" else large)
    assert found["recipe"] == size


def test_shuffled_copies_and_distillation_are_where_the_tables_have_them():
    """Table 15: shuffled positives in stage 1 only; Table 14: in fine-tuning, where retrieval sources are distilled."""
    stages = {name: source.get("stages", {}) for name, source in recipe("ruri")["sources"].items()}
    shuffled = {name for name, row in stages.items() if row.get("reranking_stage1", {}).get("shuffled_copy")}
    assert {name for name, row in stages.items() if "reranking_stage1" in row} == RERANKED
    assert shuffled == RERANKED - {"autowikiqa_nemo"}
    assert {name for name, row in stages.items() if "reranking_stage2" in row} == DISTILLED
    assert not any(row["reranking_stage2"].get("shuffled_copy") for row in stages.values() if "reranking_stage2" in row)
    tuned = {name: row["finetuning"] for name, row in stages.items() if "finetuning" in row}
    assert {name for name, row in tuned.items() if row.get("objective") == "distillation"} == DISTILLED
    assert set(tuned) == DISTILLED | {"nu_snli", "nu_mnli", "janli"}
    assert all(row["shuffled_copy"] for row in tuned.values())


@pytest.mark.parametrize("size", ["30m", "70m", "130m", "310m"])
def test_the_next_generation_differs_in_models_lengths_and_prefixes_only(size):
    ours, paper = recipe("ruri-v3", size=size), recipe("ruri", size="base")
    assert ours["base_model"]["name"] == f"sbintuitions/modernbert-ja-{size}"
    read = [ours[name]["max_length"] for name in ("pretraining", "finetuning", "encoding", "evaluation", "mteb")]
    assert {*read, *(stage["max_length"] for stage in ours["reranking"].values())} == {8192}
    assert ours["prompts"] == {"query": "検索クエリ: ", "document": "検索文書: "}
    topic = dict.fromkeys(("classification", "clustering", "multilabel"), "トピック: ")
    assert ours["task_prompts"] == {**topic, **dict.fromkeys(("sts", "pair", "bitext"), "")}
    assert ours["recipe"] == f"v3-{size}"
    assert ours["sources"] == paper["sources"] and ours["mining"]["supervised"]["negatives"] == NEGATIVES
    for name in ("batch_size", "temperature", "epochs", "warmup_ratio", "weight_decay"):
        assert ours["pretraining"][name] == paper["pretraining"][name]


@pytest.mark.parametrize("env", ["ruri", "ruri-v3"])
def test_models_of_different_sizes_do_not_meet(env):
    """Else fine-tuning would go on with the latest pre-trained model, whatever its size."""
    models = ("base_model", "pretrained_model", "reranker_stage1", "reranker", "embedder")
    default = recipe(env)["size"]
    for size, folder in ((None, default), ("xs", "xs")):
        given = {"size": size} if size else {}
        catalog = recipe(env, "catalog", **given)
        for name in models:
            assert catalog[name]["filepath"] == f"data/06_models/{env}/versions/{folder}/{name}"
    checkpoints = recipe(env)["run"]["checkpoints"]
    assert checkpoints == f"data/06_models/{env}/versions/{default}/.checkpoints"
    assert set(catalog) == set(recipe("mini", "catalog"))


def test_an_unknown_size_is_named():
    with pytest.raises(Exception, match="huge"):
        recipe("ruri", size="huge")
