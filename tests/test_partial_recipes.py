"""Recipes that leave stages or tasks out run to the end and say what they have not. Runs on a cut of the sample."""

import json

import pytest
import yaml
from cut_project import kedro, run_kedro
from partial_project import make_partial_project
from safetensors.numpy import load_file
from sentence_transformers import MultiVectorEncoder

from ruri_kedro.models.kinds import KINDS, saved_kind

GIVEN, RANDOM = {"negatives": "given"}, {"negatives": "random", "count": 1}
TAUGHT = {"negatives": "random", "count": 3, "objective": "distillation"}
CONTRASTIVE = {"negatives": "bm25", "objective": "contrastive"}


def newest(project, place):
    """The newest version of a data set."""
    return max((project / "data").glob(f"0*/part/versions/{place}/*/{place}"))


def metrics(project):
    return json.loads(newest(project, "metrics.json").read_text("utf-8"))


def registered(project):
    return {row["name"] for row in json.loads(newest(project, "registered_models.json").read_text("utf-8")).values()}


def weights(project, model):
    return {name: array.tobytes() for name, array in load_file(newest(project, model) / "model.safetensors").items()}


@pytest.mark.long
def test_sentence_embeddings_of_one_stage(tmp_path):
    """No pre-training, no reranker, no teacher, no task that is searched."""
    project = make_partial_project(tmp_path, {"inference": {"finetuning": GIVEN}}, ["sts"])
    said = run_kedro(project, "run", "--env", "part")
    for stage in ("adaptation", "pretraining", "reranking_stage1", "reranking_stage2"):
        assert f"{stage}: no source takes part in it. Nothing is trained" in said
    assert "finetuning: no source" not in said and not list(project.glob("data/06_models/**/.checkpoints/*"))
    assert list(metrics(project)) == ["base", "finetuned"] and registered(project) == {"ruri-part"}
    assert weights(project, "base_model") == weights(project, "pretrained_model") == weights(project, "reranker")
    assert weights(project, "embedder") != weights(project, "base_model")
    same = "The same model has one line: pretrained is base"
    for text in (same, "left out: reranker.", "Not tested: bm25."):
        assert text in said, text
    card = (project / "data/08_reporting/part/versions/embedder_card.md").read_text("utf-8")
    assert "| parameter | finetuning |" in card
    assert "Nothing was trained in adaptation, pretraining, reranking_stage1, reranking_stage2: no source" in card


@pytest.mark.long
def test_pipelines_that_train_nothing_need_not_be_asked_for(tmp_path):
    project = make_partial_project(tmp_path, {"inference": {"pretraining": GIVEN}}, [])
    asked = "data_engineering,mining_pretraining,pretraining"
    said = run_kedro(project, "run", "--env", "part", "--pipelines", asked)
    assert "adaptation: no source takes part in it. Nothing is trained" in said
    assert weights(project, "pretrained_model") != weights(project, "adapted_model")
    # A stage that trains is never run unasked: what it makes is missed, with the command.
    taught = {"inference": {"pretraining": GIVEN, "finetuning": GIVEN}}
    project = make_partial_project(tmp_path / "other", taught, [])
    refused = kedro(project, "run", "--env", "part", "--pipelines", "data_engineering,mining_supervised")
    said, _ = refused.communicate(timeout=300)
    assert refused.returncode == 1
    assert "pretrained_model: made by the pipeline 'pretraining'. Run: kedro run --env part" in said


@pytest.mark.slow
def test_a_recipe_without_tasks_is_registered_and_not_promoted(tmp_path):
    project = make_partial_project(tmp_path, {"inference": {"pretraining": GIVEN}}, [])
    said = run_kedro(project, "run", "--env", "part")
    assert metrics(project) == {} and "Nothing was tested: the recipe has no task" in said
    assert registered(project) == {"ruri-part"} and weights(project, "embedder") == weights(project, "pretrained_model")
    assert weights(project, "embedder") != weights(project, "base_model")
    said = run_kedro(project, "run", "--env", "part", "--pipelines", "promotion")
    assert "refused" in said and "| tests | **fail** | nothing was tested: the recipe has no task" in said
    said = " ".join(run_kedro(project, "ruri", "lineage", "--env", "part", "ruri-part/1").split())
    assert "finetuning not trained - no source took part" in said and " teacher " not in said
    said = run_kedro(project, "run", "--env", "part", "--params", "dry_run=true")
    assert "finetuning: no source takes part in it. It costs nothing" in said and "Time together" in said


@pytest.mark.slow
def test_a_recipe_without_reranker_fine_tunes_without_teacher(tmp_path):
    stages = {"questions": {"pretraining": RANDOM, "finetuning": CONTRASTIVE}}
    project = make_partial_project(tmp_path, stages, ["questions", "sts"])
    run_kedro(project, "run", "--env", "part")
    found = metrics(project)
    assert list(found) == ["bm25", "base", "pretrained", "finetuned"] and "questions/ndcg@10" in found["bm25"]
    assert registered(project) == {"ruri-part"}
    runs = sorted(path.name for path in (project / "data/07_model_output/part/versions/runs/questions").iterdir())
    assert {"base.trec.gz", "bm25.trec.gz", "finetuned.trec.gz", "pretrained.trec.gz"} <= set(runs)
    assert "reranker.trec.gz" not in runs


@pytest.mark.slow
def test_a_recipe_without_pre_training_teaches_by_a_reranker_on_the_base_model(tmp_path):
    stages = {"questions": {"reranking_stage2": RANDOM, "finetuning": TAUGHT}}
    project = make_partial_project(tmp_path, stages, ["questions"])
    said = run_kedro(project, "run", "--env", "part")
    assert list(metrics(project)) == ["bm25", "base", "finetuned", "reranker"]
    assert registered(project) == {"ruri-part", "ruri-reranker-part"} and "left out" not in said
    card = (project / "data/08_reporting/part/versions/reranker_card.md").read_text("utf-8")
    assert "Nothing was trained in adaptation, pretraining, reranking_stage1: no source" in card


@pytest.mark.slow
def test_texts_are_read_before_pairs_are_learnt_and_the_model_is_merged(tmp_path):
    project = make_partial_project(tmp_path, {"inference": {"adaptation": GIVEN, "finetuning": GIVEN}}, ["sts"])
    path = project / "conf/part/parameters.yml"
    given = yaml.safe_load(path.read_text("utf-8"))
    merging = {"method": "slerp", "model": "base", "weights": [0.2, 0.8], "weight_of": {}}
    given.setdefault("finetuning", {})["merging"] = merging
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    said = run_kedro(project, "run", "--env", "part")
    assert list(metrics(project)) == ["base", "pretrained", "finetuned"] and registered(project) == {"ruri-part"}
    assert weights(project, "adapted_model") != weights(project, "base_model")
    assert weights(project, "adapted_model") == weights(project, "pretrained_model")
    assert weights(project, "embedder") != weights(project, "finetuned_model")
    table = (project / "data/08_reporting/part/versions/merging.csv").read_text("utf-8").splitlines()
    assert table[0].startswith("weight,") and len(table) == 3 and sum(line.endswith(",True") for line in table) == 1
    assert "of the fine-tuned model is best on the held-out pairs" in said and "Traceback" not in said
    said = run_kedro(project, "run", "--env", "part", "--params", "dry_run=true")
    assert "adaptation: its texts are packed into blocks" in said and "Time together" in said


@pytest.mark.slow
def test_late_interaction_is_trained_by_contrast_and_by_a_reranker(tmp_path):
    """The kind of the base model is that of all that is trained from it; the reranker starts from its encoder."""
    tuned = [CONTRASTIVE | {"triplets": True}, TAUGHT]
    stages = {"questions": {"reranking_stage2": RANDOM, "finetuning": tuned}}
    kind = {"kind": "multi_vector", "dimensions": 16, "query_length": 32, "document_length": 64}
    project = make_partial_project(tmp_path, stages, ["questions", "sts"], **kind)
    said = run_kedro(project, "run", "--env", "part", "--params", "finetuning.averaging.last=2")
    found = metrics(project)
    assert list(found) == ["bm25", "base", "finetuned", "reranker"]
    assert {name.partition("/")[0] for name in found["finetuned"]} == {"questions", "questions_rerank"}, "and no sts"
    assert registered(project) == {"ruri-part", "ruri-reranker-part"} and "Traceback" not in said
    assert saved_kind(newest(project, "embedder")) is saved_kind(newest(project, "base_model")) is KINDS["multi_vector"]
    model = MultiVectorEncoder(str(newest(project, "embedder")), device="cpu")
    assert model.encode_query("富士山")[0].shape == (16,) and model.tokenizer.tokenize("クエリ: 富士山")[0] == "クエリ:"
    card = (project / "data/08_reporting/part/versions/embedder_card.md").read_text("utf-8")
    assert "model of late interaction" in card and "MultiVectorEncoder" in card
    said = run_kedro(project, "run", "--env", "part", "--params", "dry_run=true")
    assert "Time together" in said
    run_kedro(project, "run", "--env", "part", "--pipelines", "promotion")
