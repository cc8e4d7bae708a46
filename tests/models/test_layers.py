"""A model of which some layers are left out or not trained, and a reranker on a body without a pooler."""

import numpy as np
import pytest
import torch
from bases import BASES, POSITIONS
from sentence_transformers import SentenceTransformer
from tiny import TEXTS
from transformers import AutoModel

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.base import build_cross_encoder, load_encoder
from ruri_kedro.models.forward import encode, score_pairs
from ruri_kedro.models.layers import keep_layers, train_last_layers, train_mode


@pytest.fixture(scope="module", params=BASES)
def base(request, tmp_path_factory):
    return BASES[request.param](tmp_path_factory.mktemp("bases") / request.param)


def states_after(folder, text_ids):
    """Hidden states before the first layer and after each, of the whole model."""
    with torch.inference_mode():
        return AutoModel.from_pretrained(folder).eval()(input_ids=text_ids, output_hidden_states=True).hidden_states


def test_the_first_layer_alone_gives_what_it_gave_within_the_whole(base):
    model = keep_layers(load_encoder(base), [0], "base_model.layers")
    ids = torch.tensor([model.tokenizer(TEXTS[0])["input_ids"]])
    whole = states_after(base, ids)
    with torch.inference_mode():
        kept = model[0].auto_model(input_ids=ids, output_hidden_states=True).hidden_states
    # The last of the kept states may have been normed behind the last layer, as in pre-norm models.
    np.testing.assert_allclose(kept[0], whole[0], atol=1e-6)
    assert len(kept) == 2 and len(whole) > 2


def test_what_is_left_is_saved_and_loads_as_it_is(base, tmp_path):
    model = load_encoder(base)
    kept = [0, *range(2, model[0].auto_model.config.num_hidden_layers)]
    keep_layers(model, kept, "base_model.layers")
    model.save_pretrained(str(tmp_path / "cut"))
    again = SentenceTransformer(str(tmp_path / "cut"), device="cpu")
    assert again[0].auto_model.config.num_hidden_layers == len(kept)
    theirs = again.encode(TEXTS[:4], normalize_embeddings=True)
    np.testing.assert_allclose(encode(model, TEXTS[:4], "", None, 200), theirs, atol=1e-5)


def test_an_order_that_could_not_be_opened_again_is_refused(tmp_path):
    model = load_encoder(BASES["modernbert"](tmp_path / "modernbert"))
    with pytest.raises(RecipeError, match=r"layers of ModernBertModel cannot take this order\. Begin with layer 0"):
        keep_layers(model, [1, 0], "base_model.layers")


@pytest.mark.parametrize("layers", [[], [0, 0], [0, 7]])
def test_layers_that_are_not_there_are_refused(base, layers):
    with pytest.raises(RecipeError, match=r"base_model\.layers: .*; the model has layers 0 to \d"):
        keep_layers(load_encoder(base), layers, "base_model.layers")


def gradients(model, features):
    """The gradient of each parameter that has one, of a sum over the model's output, by name."""
    output = model(features)
    output.get("sentence_embedding", output.get("scores")).pow(3).sum().backward()
    return {name: weights.grad for name, weights in model.named_parameters() if weights.grad is not None}


@pytest.mark.parametrize("kind", ["embedder", "cross_encoder"])
def test_behind_the_layers_that_are_kept_gradients_are_as_before(base, tmp_path, kind):
    if kind == "embedder":
        models = [load_encoder(base) for _ in range(2)]
    else:
        load_encoder(base).save_pretrained(str(tmp_path / "encoder"))
        models = [build_cross_encoder(tmp_path / "encoder", POSITIONS, 0) for _ in range(2)]
    whole, cut = models
    train_last_layers(cut, 1, "finetuning.trained_layers")
    features = [dict(model.tokenizer(TEXTS[:4], padding=True, return_tensors="pt")) for model in models]
    expected, found = gradients(whole.eval(), features[0]), gradients(cut.eval(), features[1])
    assert found.keys() == {name for name, weights in cut.named_parameters() if weights.requires_grad} & expected.keys()
    last = whole[0].auto_model.config.num_hidden_layers - 1
    assert not any("embeddings" in name or f".{last - 1}." in name for name in found)
    assert any(f".{last}." in name for name in found)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-7)


def test_of_a_model_with_no_more_layers_all_weights_are_trained(base):
    model = load_encoder(base)
    for layers in (model[0].auto_model.config.num_hidden_layers, 99):
        train_last_layers(model, layers, "finetuning.trained_layers")
        assert all(weights.requires_grad for weights in model.parameters())


def test_only_layers_that_are_trained_drop_out(tmp_path):
    model = load_encoder(BASES["tohoku"](tmp_path / "bert"))
    train_last_layers(model, 1, "finetuning.trained_layers")
    features = dict(model.tokenizer(TEXTS[:4], padding=True, return_tensors="pt"))

    def states():
        return model[0].auto_model(**features, output_hidden_states=True).hidden_states

    used = states()
    train_mode(model)
    trained = states()
    for before, after in zip(used[:-1], trained[:-1], strict=True):
        assert torch.equal(before, after)
    assert not torch.equal(used[-1], trained[-1])


def test_a_model_that_is_trained_whole_is_in_training_as_a_whole(base):
    model = load_encoder(base)
    train_mode(model.eval())
    assert all(module.training for module in model.modules())


def test_a_reranker_on_a_body_with_an_empty_pooler_tells_pairs_apart(tmp_path):
    model = load_encoder(BASES["tohoku"](tmp_path / "bert"))
    torch.nn.init.zeros_(model[0].auto_model.pooler.dense.weight)
    model.save_pretrained(str(tmp_path / "encoder"))
    pairs = [(TEXTS[0], text) for text in TEXTS[:8]]
    scores = [score_pairs(build_cross_encoder(tmp_path / "encoder", POSITIONS, seed), pairs, None, 200)
              for seed in (0, 0, 1)]  # fmt: skip
    assert np.ptp(scores[0]) > 0
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])
