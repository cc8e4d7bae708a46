"""The training of multi-vector models: gradients of sentence-transformers' losses, exact resume, several processes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from late_training import TEACHER, tiny_late, trained
from sentence_transformers.multi_vector_encoder import losses as peer
from sentence_transformers.multi_vector_encoder.scoring import colbert_kd_scores
from tiny import PROMPTS
from tiny_examples import examples
from train_tables import stage, tables

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.token_vectors import Side
from ruri_kedro.models.tokens import tokenize
from ruri_kedro.training.data import assemble
from ruri_kedro.training.losses import min_max
from ruri_kedro.training.multi_vector import multi_vector_backward, train_multi_vector
from ruri_kedro.training.objectives import Budget, LossSettings
from ruri_kedro.training.plan import Batch

SETTINGS = LossSettings(temperature=0.5, distillation_temperature=1.0)


def training_set(model, rows, texts):
    teacher = {(r["query_id"], d): float(int(d) % 7) for r in rows for d in (r["positive"], *r["negatives"])}
    lengths = tuple(Side.of(model, task).length for task in ("query", "document"))
    read = partial(tokenize, model.tokenizer, max_length=None)
    data = assemble(rows, texts, tuple(PROMPTS.values()), lambda found: read(found), teacher)
    return data, lengths


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def min_max_scores(*args, **kwargs):
    scores = colbert_kd_scores(*args, **kwargs)
    return min_max(scores, torch.ones_like(scores, dtype=torch.bool))


PEERS = {
    "contrastive": lambda model: peer.MultiVectorMultipleNegativesRankingLoss(model, scale=1 / SETTINGS.temperature),
    "distillation": lambda model: peer.MultiVectorDistillKLDivLoss(model, similarity_fct=min_max_scores),
    "margin_mse": lambda model: peer.MultiVectorMarginMSELoss(model),
}


@pytest.mark.parametrize("objective", PEERS)
@pytest.mark.parametrize(("chunk_tokens", "keep_tokens"), [(4096, 100_000), (60, 0)])
@pytest.mark.parametrize("expansion", [True, False])
def test_gradients_are_those_of_sentence_transformers(objective, chunk_tokens, keep_tokens, expansion, tmp_path):
    model = tiny_late(tmp_path, query_expansion=expansion)
    rows, texts = examples(objective=objective, negatives=2)
    data, _ = training_set(model, rows, texts)
    budget = Budget(chunk_tokens, keep_tokens, "float32")
    seen = multi_vector_backward(model, data, budget, SETTINGS)(Batch(0, np.arange(8)))
    ours = gradients(model)

    columns = [[texts[row[side]] for row in rows] for side in ("anchor", "positive")]
    columns += [[texts[row["negatives"][place]] for row in rows] for place in range(2)]
    sides = ("query", "document", "document", "document")
    features = [{**model.preprocess(column, prompt=PROMPTS[task], task=task), "task": task}
                for column, task in zip(columns, sides, strict=True)]  # fmt: skip
    labels = torch.as_tensor(data.teacher)
    if objective == "distillation":
        labels = min_max(labels, torch.ones_like(labels, dtype=torch.bool))
    expected = PEERS[objective](model)(features, labels)
    expected.backward()
    assert seen.loss == pytest.approx(expected.item(), rel=1e-5)
    theirs = gradients(model)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-5, rtol=1e-4)


def test_rows_may_share_a_query_and_lack_negatives(tmp_path):
    """As two batches of one row each, whose losses are averaged."""
    model = tiny_late(tmp_path)
    rows, texts = examples(objective="distillation", negatives=3)
    rows[1] |= {name: rows[0][name] for name in ("anchor", "query_id")}
    rows[1]["negatives"] = rows[1]["negatives"][:2]
    data, _ = training_set(model, rows, texts)
    backward = multi_vector_backward(model, data, Budget(256, 1000, "float32"), SETTINGS)
    together = backward(Batch(0, np.array([0, 1]))).loss
    ours = gradients(model)
    alone = [backward(Batch(0, np.array([row]))).loss for row in (0, 1)]
    assert together == pytest.approx(np.mean(alone), rel=1e-5)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(ours[name], gradient / 2, atol=1e-6, rtol=1e-4)


def test_listwise_compares_a_query_with_its_own_passages_alone(tmp_path):
    model = tiny_late(tmp_path)
    rows, texts = examples(objective="listwise", negatives=2)
    data, _ = training_set(model, rows, texts)
    backward = multi_vector_backward(model, data, Budget(4096, 100_000, "float32"), SETTINGS)
    together = backward(Batch(0, np.arange(8))).loss
    own = [[texts[docid] for docid in (row["positive"], *row["negatives"])] for row in rows]
    with torch.no_grad():
        scores = [
            model.similarity(model.encode_query([texts[row["anchor"]]]), model.encode_document(passages))[0]
            for row, passages in zip(rows, own, strict=True)
        ]
    expected = torch.nn.functional.cross_entropy(torch.stack(scores) / SETTINGS.temperature, torch.zeros(8).long())
    assert together == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("objective", ["contrastive", pytest.param("distillation", marks=pytest.mark.slow)])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path, objective):
    whole, seen = trained(tmp_path / "whole", tiny_late(tmp_path, dropout=0.1), objective)
    assert all(0 < metrics["loss"] < 20 and -1 <= metrics["similarity"] < 1 for metrics in seen)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", tiny_late(tmp_path, dropout=0.1), objective, stop=3)
    rest, more = trained(tmp_path / "cut", tiny_late(tmp_path, dropout=0.1), objective)
    assert len(more) == len(seen) - 2
    assert all(torch.equal(rest[name], value) for name, value in whole.items())


def test_it_learns(tmp_path):
    _, seen = trained(tmp_path, tiny_late(tmp_path), epochs=8, learning_rate=3e-3, chunk_tokens=1024,
                      keep_tokens=4096, temperature=1.0)  # fmt: skip
    losses = [metrics["loss"] for metrics in seen]
    assert np.mean(losses[-6:]) < 0.6 * np.mean(losses[:6])


@pytest.mark.slow
def test_several_processes_train_the_same_model(tmp_path):
    alone, _ = trained(tmp_path / "one", tiny_late(tmp_path))
    model = tiny_late(tmp_path)
    two = replace(stage(tmp_path / "two"), devices=2)
    train_multi_vector(model, *tables(tmp_path / "two"), PROMPTS, two, lambda *_: None, TEACHER)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, alone[name], rtol=1e-2, atol=2e-4)  # Adam makes much of tiny differences


def test_what_it_cannot_train(tmp_path):
    model = tiny_late(tmp_path)
    with pytest.raises(RecipeError, match=r"tuned\.matryoshka_dims: a multi-vector model has none"):
        trained(tmp_path, model, matryoshka_dims=[8])
    with pytest.raises(RecipeError, match=r"'cosent' cannot be trained here. .* info_nce, listwise, dist"):
        trained(tmp_path / "labelled", model, "cosent")
    with pytest.raises(RecipeError, match=r"'distillation' cannot be trained here. .* info_nce, listwise\."):
        data = tables(tmp_path / "taught", "distillation")
        train_multi_vector(model, *data, PROMPTS, stage(tmp_path), lambda *_: None)
