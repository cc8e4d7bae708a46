"""Texts without padding give the embeddings of padded ones, compiled models those of others."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from bases import modernbert_ja, roberta, tohoku_bert
from tiny import PROMPTS, TEXTS, tiny_encoder, tiny_reranker
from tiny_examples import training_set
from torch._dynamo.utils import counters
from train_tables import stage, tables
from transformers import AttentionInterface

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.base import load_encoder
from ruri_kedro.models.forward import embed
from ruri_kedro.models.speed import flat_features, speed_up
from ruri_kedro.models.tokens import tokenize
from ruri_kedro.training.objectives import Budget, LossSettings, embedding_backward, reranking_backward
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.run import train_embedder


def segments(module, query, key, value, attention_mask, cu_seq_lens_q, scaling, sliding_window=None, **_):
    """What the kernels of flash attention compute: each text for itself, in windows where the layer has them."""
    starts = cu_seq_lens_q.tolist()
    parts = []
    for start, stop in pairwise(starts):
        q, k, v = (x[:, :, start:stop] for x in (query, key, value))
        places = torch.arange(stop - start)
        far = (places[:, None] - places).abs() >= (sliding_window or stop)
        scores = (q @ k.transpose(2, 3) * scaling).masked_fill(far, -torch.inf)
        parts.append(scores.softmax(-1) @ v)
    return torch.cat(parts, dim=2).transpose(1, 2), None


@pytest.fixture
def segment_attention():
    AttentionInterface.register("segments", segments)
    return "segments"


@pytest.mark.parametrize("build", [tohoku_bert, roberta, modernbert_ja])
def test_flat_texts_have_the_embeddings_of_padded_ones(tmp_path, build, segment_attention):
    model = load_encoder(build(tmp_path / "base")).eval()
    tokens = tokenize(model.tokenizer, [*TEXTS[:5], "あ", "".join(TEXTS)[:60]], 60)
    rows = [tokens.row(i) for i in range(7)]
    padded = embed(model, rows)
    model[0].model.set_attn_implementation(segment_attention)
    model[0].can_flatten_inputs = True
    model[0]._flatten_position_offset = model[0]._infer_flatten_position_offset()
    torch.testing.assert_close(embed(model, rows), padded, rtol=1e-4, atol=1e-5)


def test_flat_features_are_those_of_the_collator():
    from transformers import DataCollatorWithFlattening

    rows = [np.array([2, 7, 9, 3]), np.array([2, 3]), np.array([2, 5, 3])]
    ours = flat_features(rows, 0, "cpu")
    collate = DataCollatorWithFlattening(return_seq_idx=True, return_flash_attn_kwargs=True, return_position_ids=True)
    theirs = collate([{"input_ids": row.tolist()} for row in rows])
    assert set(ours) == set(theirs) - {"labels"}
    for name, value in ours.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[name])), name


def test_flash_attention_is_refused_where_it_cannot_run():
    with pytest.raises(RecipeError, match=r"tuned.attention: flash_attention_2 needs a CUDA device.*cpu and float32"):
        speed_up(tiny_encoder(), "flash_attention_2", False, "float32", "tuned")


def test_an_attention_by_name_is_that_of_the_model(tmp_path):
    model = tiny_encoder()
    rows = [np.array([2, 5, 6, 3])]
    before = embed(model, rows)
    speed_up(model, "eager", False, "float32", "tuned")
    assert model[0].model.config._attn_implementation == "eager"
    torch.testing.assert_close(embed(model, rows), before, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_compiled_model_is_trained_to_the_same_weights(tmp_path):
    def train(folder, **settings):
        model = tiny_encoder()
        train_embedder(model, *tables(folder), PROMPTS, stage(folder, **settings), lambda *_: None)
        return model.state_dict()

    plain, compiled = train(tmp_path / "plain"), train(tmp_path / "compiled", compile=True)
    assert plain.keys() == compiled.keys()
    for name in plain:
        torch.testing.assert_close(plain[name], compiled[name], rtol=1e-2, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["contrastive", "listwise"])
def test_a_compiled_model_has_the_gradients_of_one_that_is_not(tmp_path, kind):
    """With dropout, whether activations are kept or computed twice, in another graph."""

    def gradients(keep_tokens, compiled):
        model = (tiny_reranker(tmp_path / "body", dropout=0.3) if reranks else tiny_encoder(dropout=0.3)).train()
        speed_up(model, None, compiled, "float32", "tuned")
        budget = Budget(40, keep_tokens, "float32")
        if reranks:
            data = training_set(model, ("", ""), special=False, negatives=2)
            backward = reranking_backward(model, data, budget, 64)
        else:
            backward = embedding_backward(model, training_set(model, negatives=2), budget, LossSettings(0.05))
        torch.manual_seed(3)
        backward(Batch(0, np.arange(8)))
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    reranks = kind == "listwise"
    counters.clear()
    for keep_tokens in (0, 10_000):  # of a reranker it says which query groups draw together
        plain, found = (gradients(keep_tokens, compiled) for compiled in (False, True))
        assert found.keys() == plain.keys()
        for name in plain:
            torch.testing.assert_close(found[name], plain[name], rtol=1e-3, atol=1e-4)
    assert counters["stats"]["unique_graphs"] > 0, "nothing was compiled"


def test_bfloat16_trains_in_the_forward_passes_only(tmp_path):
    seen = []
    model = tiny_encoder()
    settings = stage(tmp_path, precision="bfloat16")
    train_embedder(model, *tables(tmp_path), PROMPTS, settings, lambda step, metrics: seen.append(metrics["loss"]))
    exact = []
    settings = stage(tmp_path / "exact")
    train_embedder(
        tiny_encoder(),
        *tables(tmp_path / "exact"),
        PROMPTS,
        settings,
        lambda step, metrics: exact.append(metrics["loss"]),
    )
    assert {tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    assert seen != exact and seen == pytest.approx(exact, rel=0.05)
