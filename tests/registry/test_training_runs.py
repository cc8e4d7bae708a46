"""What a model was trained with comes from the runs that made it and what it was made of, or is not told."""

import pytest

from ruri_kedro.errors import DataError
from ruri_kedro.models.reference import folder_digest
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.registry.registering import check_scored
from ruri_kedro.registry.runs import tracking
from ruri_kedro.registry.runs.training_runs import changed_stages, trained_with, untrained_stages
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.tables.files import write_json

EXAMPLES = {
    "adaptation": "adaptation_examples",
    "pretraining": "pretraining_examples",
    "reranking_stage1": "reranking_stage1_examples",
    "reranking_stage2": "reranking_stage2_examples",
    "finetuning": "distilled_examples",
}
MADE_OF = {
    "adaptation": {},
    "pretraining": {"adapted_model": "adapted", "pretraining_examples": "examples"},
    "reranking": {"pretrained_model": "pretrained"},
    "finetuning": {"pretrained_model": "pretrained", "reranker": "reranker"},
    "evaluation": {"embedder": "embedder", "pretrained_model": "pretrained", "reranker": "reranker"},
}
MAKES = {
    "adaptation": {"base_model": "base", "adapted_model": "adapted"},
    "pretraining": {"pretrained_model": "pretrained"},
    "reranking": {"reranker_stage1": "stage1", "reranker": "reranker"},
    "finetuning": {"distilled_examples": "distilled", "embedder": "embedder"},
    "evaluation": {"scores_finetuned": "scores"},
}


def tracked(*names: str, params: dict | None = None, **digests: str) -> str:
    """A run of these pipelines, in which some data have other digests; gives its id."""
    import mlflow

    read, made = ({key: value for name in names for key, value in of[name].items()} for of in (MADE_OF, MAKES))
    with mlflow.start_run(tags={"reproduce": f"kedro run --pipelines {','.join(names)}", "git_commit": names[-1]}):
        run_id = tracking.active_run_id()
        mlflow.log_params(params or {})
        for data, prefix in ((made, "output of "), ({k: v for k, v in read.items() if k not in made}, "")):
            for name, digest in data.items():
                tracking.log_input(run_id, name, digests.get(name, digest), None, f"{prefix}{names[0]}", name)
    return run_id


def test_each_stage_has_the_parameters_of_its_own_run(store):
    tracked("adaptation", params={"adaptation.epochs": 4, "base_model.name": None, "base_model.tiny.layers": 2})
    first = tracked("pretraining", params={"pretraining.epochs": 1})
    tracked("reranking", params={"reranking.stage1.epochs": 2, "reranking.stage2.learning_rate": 1e-05})
    last = tracked(
        "finetuning", params={"finetuning.epochs": 3, "finetuning.teacher.name": "org/x", "finetuning.dims": [64, 32]}
    )
    evaluation = tracked("evaluation", params={"finetuning.epochs": 1})
    found = trained_with("embedder", "embedder", evaluation, EXAMPLES)
    assert {stage: row["settings"] for stage, row in found.items()} == {
        "base_model": {"name": None, "tiny": {"layers": 2}},
        "adaptation": {"epochs": 4},
        "pretraining": {"epochs": 1},
        "reranking_stage1": {"epochs": 2},
        "reranking_stage2": {"learning_rate": 1e-05},
        "finetuning": {"epochs": 3, "teacher": {"name": "org/x"}, "dims": [64, 32]},
    }
    assert list(found) == ["base_model", *EXAMPLES]
    assert found["finetuning"]["run_id"] == last and found["finetuning"]["git_commit"] == "finetuning"
    assert found["finetuning"]["reproduce"] == "kedro run --pipelines finetuning"
    assert (found["pretraining"]["run_id"], found["pretraining"]["examples"]) == (first, "examples")
    assert found["finetuning"]["examples"] == "distilled" and "examples" not in found["reranking_stage1"]
    assert list(trained_with("reranker", "reranker", evaluation, EXAMPLES)) == ["base_model", *list(EXAMPLES)[:4]]


def test_a_stage_that_hands_its_model_on_has_trained_nothing(store):
    tracked("pretraining", params={"pretraining.epochs": 1}, adapted_model="one", pretrained_model="one")
    tracked("finetuning", params={"finetuning.epochs": 3}, pretrained_model="one")
    found = trained_with("embedder", "embedder", tracked("evaluation"), EXAMPLES)
    assert found["pretraining"]["handed_on"] and found["pretraining"]["settings"] == {}
    assert found["finetuning"]["settings"] == {"epochs": 3} and "handed_on" not in found["finetuning"]
    tables = {"pretraining": {"rows": 9}, "reranking_stage1": {"rows": 0}, "finetuning": {"rows": 3}}
    assert untrained_stages({"trained": found, "tables": tables}) == ["pretraining", "reranking_stage1"]
    assert untrained_stages({"tables": {"pretraining": {"digest": "any"}}}) == [], "evidence of version 0.1"


def test_one_run_of_all_is_told_for_every_stage(store):
    tracked(*MAKES)
    run_id = tracked(*MAKES)
    found = trained_with("embedder", "embedder", run_id, EXAMPLES)
    assert len(found) == 6 and {row["run_id"] for row in found.values()} == {run_id}


def test_a_model_that_was_made_anew_since_is_not_what_the_embedder_was_made_of(store):
    first = tracked("pretraining", params={"pretraining.epochs": 1})
    tracked("finetuning")
    tracked("pretraining", params={"pretraining.epochs": 9}, pretrained_model="other")
    found = trained_with("embedder", "embedder", tracked("evaluation", pretrained_model="other"), EXAMPLES)
    assert found["pretraining"]["run_id"] == first and found["pretraining"]["settings"] == {"epochs": 1}


def test_the_teachers_pretraining_does_not_stand_for_one_that_is_not_known(store):
    tracked("pretraining")
    tracked("reranking")
    tracked("finetuning", pretrained_model="pulled")
    found = trained_with("embedder", "embedder", tracked("evaluation"), EXAMPLES)
    assert list(found) == ["reranking_stage1", "reranking_stage2", "finetuning"]


def test_what_no_run_has_made_is_not_told(store):
    tracked("adaptation")
    tracked("pretraining")
    evaluation = tracked("evaluation")
    assert trained_with("embedder", "embedder", evaluation, EXAMPLES) == {}, "reading a model is not making it"
    assert trained_with("embedder", "embedder", None, EXAMPLES) == {}
    tracked("finetuning")
    later = tracked("evaluation")
    assert trained_with("embedder", "embedder", evaluation, EXAMPLES) == {}, "a run that came later"
    found = list(trained_with("embedder", "embedder", later, EXAMPLES))
    assert found == ["base_model", "adaptation", "pretraining", "finetuning"]


def test_examples_that_were_made_anew_after_the_training_are_known():
    trained = {"pretraining": {}, "finetuning": {"examples": "old"}}
    tables = {"pretraining": {"digest": "any"}, "reranking_stage1": {"digest": "any"}, "finetuning": {"digest": "old"}}
    assert changed_stages({"trained": trained, "tables": tables}) == []
    assert changed_stages({"trained": trained, "tables": tables | {"finetuning": {"digest": "new"}}}) == ["finetuning"]
    assert changed_stages({"tables": tables}) == changed_stages({"sources": {}}) == [], "an older version"


def test_scores_of_another_model_are_not_registered_with_this_one(store, tmp_path):
    """The embedder was trained anew, and only the last nodes of the evaluation were run again."""
    write_json(tmp_path / "model/manifest.json", {"files": {"model.safetensors": "new"}})
    row = {"model": "m", "task": "t", "metric": "ndcg@10", "query_id": "q", "score": 0.5}
    scores = write_table(tmp_path / "scores", SCHEMAS["scores"], {"t": Part("key", lambda: [[row]])})

    def check(run_id: str | None) -> None:
        check_scored(STAGES["finetuning"], tmp_path / "model", {"scores_finetuned": scores}, run_id, {})

    check(None)
    check(tracked("finetuning"))  # nothing is known of the scores: they may have been pulled
    tracked("evaluation", scores_finetuned=scores.digest(), embedder="old")
    with pytest.raises(DataError, match=r"scores_finetuned: made of another embedder .* kedro run --pipelines evalu"):
        check(tracked("finetuning"))
    check(tracked("evaluation", scores_finetuned=scores.digest(), embedder=folder_digest(tmp_path / "model")))
