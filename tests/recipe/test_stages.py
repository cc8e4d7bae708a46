"""The table of stages: what is behind a model, what a recipe trains, and models that are handed on."""

from types import SimpleNamespace

import pytest

from ruri_kedro.datasets import ModelFolder
from ruri_kedro.errors import RecipeError
from ruri_kedro.experiments.work import work_of
from ruri_kedro.models.kinds import KINDS, kind_called, kinds_of, saved_kind, stored_kinds
from ruri_kedro.recipe import stages
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.tables.files import write_json
from ruri_kedro.training.stages import train_stage

ALL = ("adaptation", "pretraining", "reranking_stage1", "reranking_stage2", "finetuning")


def test_the_stages_behind_each_model():
    assert stages.stages_behind("embedder") == ALL, "the teacher's are among them"
    assert stages.stages_behind("reranker") == ALL[:4]
    assert stages.stages_behind("pretrained_model") == ALL[:2] and stages.stages_behind("base_model") == ()
    assert stages.parents_of("embedder") == ("pretrained_model", "reranker")


def test_the_order_and_the_names():
    assert stages.pipeline_order() == (
        "data_engineering", "mining_pretraining", "adaptation", "pretraining", "mining_supervised", "reranking",
        "finetuning", "evaluation",
    )  # fmt: skip
    assert list(stages.evaluated_models()) == ["base", "pretrained", "finetuned", "reranker"]
    assert stages.registered_names("x") == {"embedder": "ruri-x", "reranker": "ruri-reranker-x"}
    assert [kind.word for kind in KINDS.values()] == ["embedder", "reranker", "multi_vector"]
    assert kind_called("reranker") is kind_called("cross_encoder") is KINDS["cross_encoder"]
    with pytest.raises(RecipeError, match=r"'late' is not a kind of model\. There are: embedder, reranker, multi_v"):
        kind_called("late")


@pytest.mark.parametrize(
    ("model", "taking_part", "trained"),
    [
        ("reranker", [], False),
        ("reranker", ["pretraining", "finetuning"], False),  # an encoder would be handed on
        ("reranker", ["reranking_stage1"], True),
        ("reranker_stage1", ["reranking_stage2"], False),
        ("embedder", [], True),  # the base model is one
        ("base_model", [], True),
    ],
)
def test_a_model_is_of_its_kind_where_a_stage_of_the_kind_has_trained_it(model, taking_part, trained):
    sources = {"faq": {"stages": {stage: {"negatives": "bm25"} for stage in taking_part}}, "wiki": {}}
    assert stages.is_trained(model, sources) == trained


def test_a_source_that_is_of_another_form_takes_no_part():
    for source in (None, "text", {}, {"stages": None}, {"stages": ["pretraining"]}, {"stages": {"pretraining": []}}):
        assert not stages.takes_part("pretraining", {"x": source})


def test_what_the_rows_name_is_there():
    addresses = [value for kind in KINDS.values() for value in vars(kind).values() if isinstance(value, str)]
    found = [resolve(address) for address in addresses if ":" in address]
    assert len(found) == 35 and all(found)
    for stage in STAGES.values():
        pipeline = resolve(f"{stage.pipeline}:create_pipeline")()
        [node] = [node for node in pipeline.nodes if node.short_name == stage.node]
        assert {stage.start, stage.examples, f"params:{stage.block}"} <= set(node.inputs)
        assert node.outputs == [stage.output] and kinds_of(stage.kind) and stage.mining in stages.MINING
        assert any("ruri_kedro.training." in str(work) for work in work_of(node))


def test_a_stage_without_sources_hands_on_the_same_files(tmp_path, caplog):
    """The copy has the digest of what was handed on, and a manifest of its own."""
    first, second = (ModelFolder(filepath=str(tmp_path / name)) for name in ("base", "pretrained"))

    def save_pretrained(path):
        write_json(tmp_path / path / "modules.json", [])
        write_json(tmp_path / path / "1_Pooling/config.json", {})

    first.save(SimpleNamespace(save_pretrained=save_pretrained))
    caplog.set_level("INFO")
    handed_on = train_stage("pretraining", first.load(), SimpleNamespace(parts=list), None, {}, {}, None)
    second.save(handed_on)
    assert second.fingerprint() == first.fingerprint()
    assert sorted(path.name for path in second.load().rglob("*")) == sorted(
        path.name for path in first.load().rglob("*")
    )
    assert "pretraining: no source takes part in it. Nothing is trained" in caplog.text


def test_the_kind_of_a_folder(tmp_path):
    for name, saved in (("old", {}), ("new", {"model_type": "SentenceTransformer"})):
        write_json(tmp_path / name / "config_sentence_transformers.json", saved)
        assert saved_kind(tmp_path / name) is KINDS["embedder"]
    write_json(tmp_path / "pairs/config_sentence_transformers.json", {"model_type": "CrossEncoder"})
    assert saved_kind(tmp_path / "pairs") is KINDS["cross_encoder"]
    write_json(tmp_path / "late/config_sentence_transformers.json", {"model_type": "MultiVectorEncoder"})
    assert saved_kind(tmp_path / "late") is KINDS["multi_vector"]
    write_json(tmp_path / "sparse/config_sentence_transformers.json", {"model_type": "SparseEncoder"})
    assert saved_kind(tmp_path / "sparse") is None
    assert stored_kinds(tmp_path / "artifacts/reranker") == (KINDS["cross_encoder"], KINDS["multi_vector"])
