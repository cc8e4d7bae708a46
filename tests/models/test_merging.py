"""A model between two: by the formula, of single parameters too, and the choice of its weight."""

import numpy as np
import pytest
import torch
from tiny import PROMPTS, TEXTS, tiny_encoder

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.merging import merge, weighted_mean
from ruri_kedro.recipe.parse import parse
from ruri_kedro.training.merging import best_weight, merging_table
from ruri_kedro.training.settings import Averaging, Merging

TABLE = "embeddings.tok_embeddings.weight"


@pytest.fixture(scope="module")
def models():
    return tiny_encoder(seed=0), tiny_encoder(seed=1)


def slerp(first, second, weight):
    """Shoemake 1985: along the arc between two vectors; a tensor is one vector. Nearly parallel ones go straight."""
    a, b = (tensor.double().flatten() for tensor in (first, second))
    cosine = torch.dot(a / a.norm(), b / b.norm()).clamp(-1, 1)
    if cosine.abs() > 0.9995:
        return ((1 - weight) * a + weight * b).reshape(first.shape)
    angle = torch.arccos(cosine)
    shares = torch.sin((1 - weight) * angle) / torch.sin(angle), torch.sin(weight * angle) / torch.sin(angle)
    return (shares[0] * a + shares[1] * b).reshape(first.shape)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.7, 1.0])
def test_each_tensor_is_that_of_the_formula(models, weight):
    trained, older = models
    linear, arc = (merge(trained, older, method, weight) for method in ("linear", "slerp"))
    for name, tensor in trained.named_parameters():
        other = dict(older.named_parameters())[name]
        straight = weight * tensor.double() + (1 - weight) * other.double()
        torch.testing.assert_close(dict(linear.named_parameters())[name].double(), straight, rtol=1e-5, atol=1e-6)
        expected = slerp(other, tensor, weight)
        torch.testing.assert_close(dict(arc.named_parameters())[name].double(), expected, rtol=1e-4, atol=1e-5)


def test_at_the_ends_it_is_one_of_the_two_and_neither_is_changed(models, tmp_path):
    trained, older = models
    before = trained.encode(TEXTS[:3]), older.encode(TEXTS[:3])
    for method in ("linear", "slerp"):
        for weight, expected in ((1.0, before[0]), (0.0, before[1])):
            np.testing.assert_allclose(merge(trained, older, method, weight).encode(TEXTS[:3]), expected, atol=1e-5)
    np.testing.assert_array_equal(trained.encode(TEXTS[:3]), before[0])
    merged = merge(trained, older, "slerp", 0.5)
    assert dict(merged.prompts) == PROMPTS and not merged.training
    merged.save_pretrained(str(tmp_path / "merged"))


def test_single_parameters_have_a_weight_of_their_own(models):
    trained, older = models
    merged = merge(trained, older, "linear", 0.0, {"tok_embeddings": 1.0, "embeddings": 0.5})
    for name, tensor in merged.named_parameters():
        source = trained if "tok_embeddings" in name else older
        if "embeddings" not in name or "tok_embeddings" in name:
            torch.testing.assert_close(tensor, dict(source.named_parameters())[name])
    with pytest.raises(RecipeError, match=r"merging\.weight_of: 'nothing' matches no parameter, such as "):
        merge(trained, older, "linear", 0.5, {"nothing": 1.0})


def test_models_of_another_form_are_refused(models):
    with pytest.raises(RecipeError, match=r"merging: the models do not fit each other\. "):
        merge(models[0], tiny_encoder(hidden=16), "linear", 0.5)


def test_the_mean_of_weights_is_that_of_their_sum():
    states = [{"a": torch.tensor([float(n)]), "n": torch.tensor(n)} for n in (1, 2, 6)]
    assert float(weighted_mean(states, [1, 1, 1])["a"]) == pytest.approx(3)
    found = weighted_mean(iter(states), [0.5, 0, 1.5])
    assert float(found["a"]) == pytest.approx((0.5 + 9) / 2) and int(found["n"]) == 6


def test_the_weight_is_chosen_by_the_mean_over_sources():
    found = {
        0.3: {"ja/ndcg@10": 0.9, "ja/recall@10": 1.0, "ru/spearman": 0.2},
        0.5: {"ja/ndcg@10": 0.8, "ja/recall@10": 0.0, "ru/spearman": 0.5},
        1.0: {"ja/ndcg@10": 0.6, "ja/recall@10": 1.0, "ru/spearman": 0.7},
    }
    assert best_weight(found) == 0.5, "the same mean at 1.0: the older model counts"
    table = merging_table(found, 0.5)
    assert table["chosen"].tolist() == [False, True, False] and table["mean"].tolist() == pytest.approx(
        [0.55, 0.65, 0.65]
    )
    assert merging_table({}, 0.4)["weight"].tolist() == [0.4] and merging_table({}, None).empty


def test_settings_that_cannot_be_meant_are_refused():
    with pytest.raises(RecipeError, match=r"merging\.weights: none is given"):
        parse(Merging, {"method": "slerp", "model": "start", "weights": [], "weight_of": {}}, "merging")
    with pytest.raises(RecipeError, match=r"averaging\.weights: \[1\.0\]; give one for each of the last 3, or null"):
        parse(Averaging, {"last": 3, "weights": [1.0]}, "averaging")
