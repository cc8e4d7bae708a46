"""Unsupervised pairs: the loss of two separate passes with the same draws of dropout; without dropout a refusal."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import PROMPTS, TEXTS, tiny_encoder
from train_tables import examples_table, stage, tables

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.tokens import forward_chunks, padded_length, tokenize
from ruri_kedro.training.data import assemble
from ruri_kedro.training.gradcache import draws
from ruri_kedro.training.objectives import Budget, LossSettings, embedding_backward
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.run import train_embedder


def twins(model, prompts):
    """Eight texts, each its own positive, as a training set."""
    rows = [
        {"example_id": f"e{i}", "query_id": f"q{i}", "source": "s", "objective": "info_nce", "anchor": f"{i}",
         "positive": f"{i}", "negatives": [], "shuffled": False, "label": None}
        for i in range(8)
    ]  # fmt: skip
    texts = {f"{i}": TEXTS[i] for i in range(8)}
    return assemble(rows, texts, prompts, lambda found: tokenize(model.tokenizer, found, 64))


@pytest.mark.parametrize("keep_tokens", [0, 10_000])
def test_the_loss_is_that_of_two_forward_passes_with_the_same_draws(keep_tokens):
    """The anchors have a longer prompt, so they are one chunk and the positives another: each side is one pass."""
    model = tiny_encoder(dropout=0.3).train()
    data = twins(model, ("文章と文章を比べる: " * 2, ""))
    lengths = data.tokens.lengths
    budget = 8 * padded_length(int(lengths.max()))
    chunks = forward_chunks(lengths, budget, model.device)
    assert [sorted(chunk.tolist()) for chunk in chunks] == [sorted(data.texts[:, side].tolist()) for side in (0, 1)]
    torch.manual_seed(3)
    backward = embedding_backward(model, data, Budget(budget, keep_tokens, "float32"), LossSettings(0.05))
    seen = backward(Batch(0, np.arange(8)))
    gradients = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}

    model.zero_grad()
    torch.manual_seed(3)
    seed = int(torch.randint(2**62, ()))

    def forward(side: int) -> torch.Tensor:
        rows = [torch.tensor(data.tokens.row(text)) for text in chunks[side]]
        ids = torch.full((8, padded_length(max(map(len, rows)))), model.tokenizer.pad_token_id)
        for row, own in zip(ids, rows, strict=True):
            row[: len(own)] = own
        features = {"input_ids": ids, "attention_mask": (ids != model.tokenizer.pad_token_id).long()}
        with draws(seed + side):
            vectors = model(features)["sentence_embedding"]
        place = {int(text): number for number, text in enumerate(chunks[side])}
        return F.normalize(vectors[[place[int(text)] for text in data.texts[:, side]]], dim=-1)

    anchors, positives = forward(0), forward(1)
    loss = F.cross_entropy(anchors @ positives.T / 0.05, torch.arange(8))
    loss.backward()
    assert seen.loss == pytest.approx(loss.item(), rel=1e-5)
    for name, value in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(gradients[name], value.grad, rtol=1e-3, atol=1e-5)


def unsupervised(tmp_path):
    first, passages = tables(tmp_path, "info_nce")
    rows = [row | {"positive": row["anchor"], "negatives": []} for row in first.iter_rows(["faq"])]
    return examples_table(tmp_path / "twins", {"faq": rows, "nli": list(first.iter_rows(["nli"]))}), passages


def test_a_model_without_dropout_is_refused_before_the_first_step(tmp_path):
    def refuse(step, metrics):
        raise AssertionError("nothing is trained")

    with pytest.raises(RecipeError, match=r"tuned: the pairs of faq \(info_nce\) are the same text twice\. Dropout"):
        train_embedder(tiny_encoder(), *unsupervised(tmp_path), PROMPTS, stage(tmp_path), refuse)


def test_a_model_with_dropout_is_trained(tmp_path):
    steps = []
    model = tiny_encoder(dropout=0.1)
    train_embedder(model, *unsupervised(tmp_path), PROMPTS, stage(tmp_path), lambda step, _: steps.append(step))
    assert steps == [1, 2, 3, 4, 5, 6] and not model.training
