"""A head of the training only: it shapes what is learnt, is in the checkpoints, and is not in the model."""

import pytest
import torch
from tiny import PROMPTS, TEXTS, tiny_encoder
from train_tables import stage, tables

from ruri_kedro.errors import TrainingError
from ruri_kedro.models.base import load_encoder, with_unit_vectors
from ruri_kedro.models.forward import encode
from ruri_kedro.models.training_head import training_head
from ruri_kedro.training.run import train_embedder


def start():
    return with_unit_vectors(tiny_encoder(dropout=0.1))


def train(folder, head="mlp", kill_at=None):
    def on_step(step, metrics):
        if step == kill_at:
            raise KeyboardInterrupt

    model = start()
    data = tables(folder)
    used = stage(folder, {"steps": 2, "rows": 5}, epochs=2)
    return train_embedder(model, *data, PROMPTS, used, on_step, training_head=head)


def test_a_head_works_in_training_only():
    model = start()
    before = encode(model, TEXTS[:3], "", 32, 100)
    weights = set(model.state_dict())
    state = torch.get_rng_state()
    with training_head(model, "mlp", seed=1):
        assert torch.equal(torch.get_rng_state(), state)
        assert encode(model, TEXTS[:3], "", 32, 100) == pytest.approx(before, abs=1e-6)
        added = set(model.state_dict()) - weights
        features = {"sentence_embedding": torch.full((1, 32), 9.0)}
        head = model[len(model) - 2]
        assert head.train()(dict(features))["sentence_embedding"].abs().max() <= 1
        assert head.eval()(dict(features))["sentence_embedding"].max() == 9
    assert {name.rpartition(".dense.")[2] for name in added if "dense" in name} >= {"weight", "bias"}
    assert set(model.state_dict()) == weights
    with training_head(model, None, seed=1):
        assert set(model.state_dict()) == weights


def test_the_trained_model_has_no_head_and_is_another_one_than_without(tmp_path):
    with_head, without = (train(tmp_path / str(head), head) for head in ("mlp", None))
    assert with_head.state_dict().keys() == without.state_dict().keys() == start().state_dict().keys()
    assert any(not torch.equal(value, without.state_dict()[name]) for name, value in with_head.state_dict().items())
    with_head.save_pretrained(str(tmp_path / "saved"))
    assert [type(module).__name__ for module in load_encoder(tmp_path / "saved")][1:] == ["Pooling", "Normalize"]


def test_a_killed_training_goes_on_with_its_head(tmp_path):
    whole = train(tmp_path / "whole").state_dict()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", kill_at=7)
    with pytest.raises(TrainingError, match="initial weights"):
        train(tmp_path / "killed", head=None)
    again = train(tmp_path / "killed").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
