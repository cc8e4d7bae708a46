"""A saved embedder ends with a module that brings vectors to length 1, and nothing that is computed here changes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from tiny import BASE_MODEL, PROMPTS, TEXTS, tiny_encoder
from train_tables import stage, tables

from ruri_kedro.models.base import load_encoder, with_unit_vectors
from ruri_kedro.models.checkpoint import saved_with_unit_vectors
from ruri_kedro.models.forward import embed, encode
from ruri_kedro.pipelines.adaptation.nodes import make_base_model
from ruri_kedro.pipelines.pretraining.nodes import pretrain
from ruri_kedro.training.run import train_embedder


def test_vectors_of_a_saved_model_have_length_1(tmp_path):
    plain, model = tiny_encoder(), with_unit_vectors(tiny_encoder())
    assert with_unit_vectors(model) is model and len(model) == 3, "it is not put on twice"
    for name, made in (("plain", plain), ("unit", model)):
        made.save_pretrained(str(tmp_path / name))
        assert saved_with_unit_vectors(tmp_path / name) == (name == "unit")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "unit")]
    assert weights[0] == weights[1]
    loaded = SentenceTransformer(str(tmp_path / "unit"), device="cpu")
    norms = np.linalg.norm(loaded.encode(TEXTS, prompt_name="query"), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-6)
    norms = np.linalg.norm(SentenceTransformer(str(tmp_path / "plain"), device="cpu").encode(TEXTS), axis=1)
    assert (abs(norms - 1) > 0.1).all()


def test_what_is_computed_here_stays_the_same_to_the_bit(tmp_path):
    plain, model = tiny_encoder(), with_unit_vectors(tiny_encoder())
    model.save_pretrained(str(tmp_path / "model"))
    rows = [np.array(plain.tokenizer(text)["input_ids"]) for text in TEXTS]
    for other in (model, load_encoder(tmp_path / "model")):
        assert torch.equal(embed(plain.eval(), rows), embed(other.eval(), rows))
        assert np.array_equal(encode(plain, TEXTS, "", None, 200), encode(other, TEXTS, "", None, 200))


def test_a_training_gives_the_same_weights(tmp_path):
    trained = []
    for name, model in (("plain", tiny_encoder()), ("unit", with_unit_vectors(tiny_encoder()))):
        settings = stage(tmp_path / name)
        trained.append(train_embedder(model, *tables(tmp_path / name), PROMPTS, settings, lambda *_: None).state_dict())
    assert trained[0].keys() == trained[1].keys()
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


SOME = SimpleNamespace(parts=lambda: ["faq"])  # a table of examples with a source


@pytest.fixture
def as_it_is(monkeypatch):
    """No training: the models that the nodes load are handed on."""
    monkeypatch.setattr("ruri_kedro.training.run.train_embedder", lambda model, **_: model)
    monkeypatch.setattr("ruri_kedro.training.stages.stage_of", lambda *_: None)


def test_base_models_and_what_is_trained_from_those_of_0_1_end_so(tmp_path, as_it_is):
    tiny_encoder().save_pretrained(str(tmp_path / "base"))
    base = make_base_model(
        SimpleNamespace(),
        BASE_MODEL | {"name": str(tmp_path / "base")},
        PROMPTS,
        0,
    )
    trained = pretrain(
        tmp_path / "base", SOME, None, {"max_length": 8, "development": None}, PROMPTS, {"seed": 0}, {}, None, None
    )
    for model in (base, trained):
        assert [type(module) for module in model].count(Normalize) == 1 and isinstance(model[-1], Normalize)
        model.save_pretrained(str(tmp_path / "saved"))
    types = [row["type"] for row in json.loads((tmp_path / "saved/modules.json").read_text("utf-8"))]
    assert types[-1] == "sentence_transformers.base.modules.normalize.Normalize"
