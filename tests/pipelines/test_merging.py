"""The node that merges the fine-tuned model with an older one: what it hands on, and which weight it takes."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny import TEXTS, tiny_encoder

from ruri_kedro.datasets.models import HandedOn
from ruri_kedro.models.base import load_encoder
from ruri_kedro.pipelines.finetuning import nodes

MERGING = {"method": "linear", "model": "start", "weights": [0.25, 0.75], "weight_of": {}}


@pytest.fixture
def folders(tmp_path):
    for seed, name in enumerate(("base", "start", "tuned")):
        tiny_encoder(seed=seed).save_pretrained(str(tmp_path / name))
    return SimpleNamespace(**{name: tmp_path / name for name in ("base", "start", "tuned")})


def merged(folders, merging, validate=None, **changed):
    given = vars(folders) | changed
    return nodes.merge_with_older(given["tuned"], given["start"], given["base"], None, None, {}, {}, {}, merging)


def test_without_it_the_fine_tuned_model_is_handed_on(folders):
    model, table = merged(folders, None)
    assert isinstance(model, HandedOn) and model.folder == folders.tuned
    assert table.empty and list(table) == ["weight", "mean", "chosen"]
    model, table = merged(folders, MERGING, start=folders.tuned)
    assert isinstance(model, HandedOn) and table.empty, "nothing was trained"


@pytest.mark.parametrize(("older", "name"), [("start", "start"), ("base", "base")])
def test_a_single_weight_is_taken_as_it_is(folders, monkeypatch, older, name):
    monkeypatch.setattr(nodes, "validate", None)
    model, table = merged(folders, MERGING | {"weights": [0.0], "model": older})
    expected = load_encoder(getattr(folders, name)).encode(TEXTS[:3], normalize_embeddings=True)
    np.testing.assert_allclose(model.encode(TEXTS[:3], normalize_embeddings=True), expected, atol=1e-5)
    assert table.to_dict("records") == [{"weight": 0.0, "mean": None, "chosen": True}]


def test_of_several_the_best_on_held_out_pairs_is_taken(folders, monkeypatch):
    """By what validation says of the merged models themselves."""
    tuned = load_encoder(folders.tuned).encode(TEXTS[:3], normalize_embeddings=True)
    seen = []

    def validate(folder, pairs, passages, sources, prompts, evaluation):
        vectors = load_encoder(folder).encode(TEXTS[:3], normalize_embeddings=True)
        seen.append(float((vectors * tuned).sum(axis=1).mean()))
        return {"ru/spearman": seen[-1], "ja/ndcg@10": 0.5, "ja/recall@10": 0.0}

    monkeypatch.setattr(nodes, "validate", validate)
    model, table = merged(folders, MERGING)
    assert seen[1] > seen[0] and table["chosen"].tolist() == [False, True]
    assert table["mean"].tolist() == pytest.approx([(value + 0.5) / 2 for value in seen])
    alike = (model.encode(TEXTS[:3], normalize_embeddings=True) * tuned).sum(axis=1).mean()
    assert float(alike) == pytest.approx(seen[1], abs=1e-5)
