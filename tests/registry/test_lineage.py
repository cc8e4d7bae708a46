"""From a registered version back to its data, by the evidence and by MLflow's own records."""

import re
from dataclasses import replace

import pytest
from registered import NAME, PROMOTION, evidence, register

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.evidence.training_data import training_of_kind
from ruri_kedro.registry.lineage.lineage import lineage, lineage_text
from ruri_kedro.registry.promotion import promote as promotion
from ruri_kedro.registry.runs import tracking
from ruri_kedro.registry.versions import models
from ruri_kedro.registry.versions import registered as versions

RERANKER = "ruri-reranker-tiny"
TRAINING = {
    "sources": {
        "questions": {"from": ["questions/train.jsonl.gz"], "licence": "Apache-2.0", "origin": "given", "pairs": 1200,
                      "digest": "pairs-of-questions", "examples": {"pretraining": 1000, "finetuning": 300}},
        "wiki": {"from": ["wiki.jsonl"], "licence": "CC BY-SA 4.0", "origin": "given", "pairs": 0, "digest": None,
                 "examples": {}},
    },
    "tables": {
        "pretraining": {"rows": 1100, "digest": "table-one", "parts": {"questions": "part-one"}},
        "finetuning": {"rows": 310, "digest": "table-two", "parts": {"questions": "part-two"}},
    },
    "data": {"pairs": "all-pairs", "test_texts": "texts", "git_commit": "c0ffee", "dvc.data/01_raw/tiny": "md5.dir"},
    "trained": {
        "finetuning": {"run_id": "run-two", "reproduce": "kedro run --env tiny --pipelines finetuning",
                       "git_commit": "c0ffee", "git_dirty": "true",
                       "settings": {"teacher": {"name": None, "revision": None}}},
    },
    "made": {"run_id": "run-three", "reproduce": "kedro run --env tiny --pipelines evaluation", "git_commit": "1234"},
    "base_model": {"name": "tohoku-nlp/bert-base-japanese-v3", "revision": "65243d6"},
}  # fmt: skip


def register_both(folders) -> str:
    """Embedder and reranker of one run; gives its id."""
    import mlflow

    with mlflow.start_run() as run:
        tracking.log_input(run.info.run_id, "raw", "digest-of-raw", None, "data_engineering", "data/01_raw/tiny")
        tracking.log_input(run.info.run_id, "pairs", "all-pairs", 1200, "output of data_engineering", "data/pairs")
        own = replace(evidence(), training=training_of_kind(TRAINING | {"trained": {"reranker": {}}}, "reranker"))
        models.register_reranker(folders / "reranker", RERANKER, {}, own)
        searched = {stage: {"examples": table["rows"], "leaked": 0} for stage, table in TRAINING["tables"].items()}
        report = evidence().contamination | {"stages": searched}
        own = replace(evidence(), training=TRAINING, contamination=report)
        models.register_embedder(folders / "embedder", NAME, {}, own)
    return run.info.run_id


def test_a_version_says_where_it_comes_from(store, folders):
    run_id = register_both(folders)
    found = lineage(*versions.resolve(f"{NAME}@challenger"))
    assert found.run_id == run_id and found.teacher == f"{RERANKER} version 1 (challenger)"
    assert [(item.name, item.context, item.digest, item.rows) for item in found.inputs] == [
        ("raw", "data_engineering", "digest-of-raw", None),
        ("pairs", "output of data_engineering", "all-pairs", 1200),
    ]
    lines = [" ".join(line.split()) for line in lineage_text(found).splitlines()]
    for line in (
        "ruri-tiny version 1 (challenger)",
        "commit c0ffee, with changes that were not committed",
        "made by kedro run --env tiny --pipelines finetuning",
        "pretraining unknown - -",
        "finetuning run-two c0ffee, with changes that were not committed kedro run --env tiny --pipelines finetuning",
        "base model tohoku-nlp/bert-base-japanese-v3@65243d6",
        "DVC data/01_raw/tiny md5.dir",
        "pretraining questions table-one 1,100 1,000",
        "finetuning questions table-two 310 300",
        "questions Apache-2.0 given questions/train.jsonl.gz pairs-of-questions 1,200",
        "wiki CC BY-SA 4.0 given wiki.jsonl - 0",
        "raw data_engineering - digest-of-raw -",
    ):
        assert line in lines, lines
    reranker = lineage(*versions.resolve(RERANKER))
    assert reranker.teacher is None and list(reranker.training["tables"]) == ["pretraining"]
    for key in ("made by", "commit", "base model"):
        assert re.search(rf"^  {key} +unknown: MLflow has no run that made it$", lineage_text(reranker), re.MULTILINE)


def test_with_a_run_per_pipeline_the_runs_before_are_named(store, folders):
    import mlflow

    made = {}
    for name in ("old", "new", "of other weights"):
        with mlflow.start_run(run_name=f"tiny: {name}") as run:
            digest = "other" if name == "of other weights" else "weights"
            tracking.log_input(run.info.run_id, "embedder", digest, None, "output of finetuning", "data/embedder")
            made[name] = run.info.run_id
    with mlflow.start_run() as run:  # reads it, makes something else
        tracking.log_input(run.info.run_id, "embedder", "weights", None, "ablations", "data/embedder")
        tracking.log_input(run.info.run_id, "ablation_scores", "s", None, "output of ablations", "data/scores")
    with mlflow.start_run() as run:
        tracking.log_input(run.info.run_id, "embedder", "weights", None, "evaluation", "data/embedder")
        tracking.log_input(run.info.run_id, "pairs", "all-pairs", 1200, "evaluation", "data/pairs")
        searched = {stage: {"examples": table["rows"], "leaked": 0} for stage, table in TRAINING["tables"].items()}
        report = evidence().contamination | {"stages": searched}
        own = replace(evidence(), training=TRAINING, contamination=report)
        models.register_embedder(folders / "embedder", NAME, {}, own)
    with mlflow.start_run() as later:
        tracking.log_input(later.info.run_id, "embedder", "weights", None, "output of finetuning", "data/embedder")
    found = lineage(NAME, 1)
    assert [(item.name, item.maker) for item in found.inputs] == [
        ("embedder", f"tiny: new, {made['new']}"),
        ("pairs", None),
    ]
    assert f"embedder evaluation tiny: new, {made['new']} weights -" in " ".join(lineage_text(found).split())


def test_mlflow_finds_the_versions_made_of_a_table_or_a_commit(store, folders):
    import mlflow

    register_both(folders)
    register(folders / "embedder")
    for condition in ("tags.`data.finetuning` = 'table-two'", "tags.`dvc.data/01_raw/tiny` = 'md5.dir'"):
        found = mlflow.MlflowClient().search_model_versions(f"name = '{NAME}' and {condition}")
        assert [int(version.version) for version in found] == [1]


def test_a_released_copy_has_the_lineage_of_its_original(store, folders):
    register_both(folders)
    promotion.apply_decision(promotion.judge_version(PROMOTION | {"released": "{model}-released"}))
    found = lineage(*versions.resolve("models:/ruri-tiny-released@champion"))
    assert found.copied_from == "ruri-tiny version 1" and found.training == TRAINING
    assert re.search(r"^  copy of +ruri-tiny version 1$", lineage_text(found), re.MULTILINE)


def test_a_version_without_its_training_data_is_an_error_with_the_remedy(store, folders):
    register(folders / "embedder")
    with pytest.raises(RegistryError, match=r"version 1 does not say what it was trained on\. Register it again"):
        lineage(NAME, 1)


def test_references_to_versions(store, folders):
    for level in (0.5, 0.6):
        register(folders / "embedder", evidence(level))
    assert versions.resolve(NAME) == (NAME, 2), "without a champion the challenger"
    promotion.apply_decision(promotion.judge_version(PROMOTION, number=1))
    assert versions.resolve(NAME) == versions.resolve(f"models:/{NAME}@champion") == (NAME, 1)
    assert versions.resolve(f"{NAME}/2") == versions.resolve(f"models:/{NAME}/2") == (NAME, 2)
    for wrong, said in (
        ("nobody", "'nobody' has no 'champion' or"),
        (f"{NAME}/9", "no version 9"),
        (f"{NAME}/x", "'x'"),
    ):
        with pytest.raises(RegistryError, match=said):
            versions.resolve(wrong)
