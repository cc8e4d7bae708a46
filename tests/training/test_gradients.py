"""The gradient cache and the objectives give the gradients of the plain computation."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sentence_transformers.cross_encoder.losses import ListNetLoss
from sentence_transformers.sentence_transformer import losses as peer
from tiny import PROMPTS, tiny_encoder, tiny_reranker
from tiny_examples import examples, training_set

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.models.forward import embed
from ruri_kedro.models.tokens import forward_chunks, pad, tokenize
from ruri_kedro.recipe.objectives import LABELLED, RERANKING, TAUGHT, UNTAUGHT
from ruri_kedro.training.data import ANCHOR, NEGATIVES, POSITIVE, assemble
from ruri_kedro.training.gradcache import cached_backward, draws
from ruri_kedro.training.losses import distillation, improved_contrastive, listwise_cross_entropy
from ruri_kedro.training.objectives import (
    LOSSES,
    Budget,
    LossSettings,
    embedding_backward,
    reranking_backward,
)
from ruri_kedro.training.plan import Batch


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same(first, second, rtol=1e-4, atol=1e-6):
    assert first.keys() == second.keys() and first
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=rtol, atol=atol)


def drawn(passes):
    """What each forward pass gives with the draws of its chunk, one after the other and none twice."""
    seed, state = int(torch.randint(2**62, ())), torch.get_rng_state()
    found = []
    for number, forward in enumerate(passes):
        with draws(seed + number):
            found.append(forward())
    assert torch.equal(torch.get_rng_state(), state)
    return found


@pytest.mark.parametrize("keep", [0, 40, 10_000])
@pytest.mark.parametrize("cuts", [(5, 11), (1, 2, 3), ()])
def test_cached_gradients_with_dropout_are_those_of_the_same_draws(keep, cuts):
    """Chunks of any size, kept or computed twice, with the dropout masks each chunk had at first."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 4))
    inputs, labels = torch.randn(17, 6), torch.randint(4, (17,))
    order = np.random.default_rng(0).permutation(17)
    chunks = np.split(order, cuts)

    def loss_of(outputs):
        return torch.nn.functional.cross_entropy(outputs @ outputs.T, torch.arange(17)) + outputs[labels].square().sum()

    torch.manual_seed(7)
    loss = cached_backward(lambda items: model(inputs[items]), chunks, [len(c) * 10 for c in chunks], keep, loss_of)
    cached = gradients(model)
    torch.manual_seed(7)
    parts = torch.cat(drawn([lambda chunk=chunk: model(inputs[chunk]) for chunk in chunks]))
    outputs = torch.empty_like(parts).index_copy(0, torch.as_tensor(np.concatenate(chunks)), parts)
    expected = loss_of(outputs)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert_same(cached, gradients(model))


@pytest.mark.parametrize("chunk_tokens", [16, 77, 4096])
@pytest.mark.parametrize("keep_tokens", [0, 100_000])
def test_contrastive_objective_is_the_loss_of_the_padded_batch(chunk_tokens, keep_tokens):
    model = tiny_encoder()
    data = training_set(model)
    backward = embedding_backward(model, data, Budget(chunk_tokens, keep_tokens, "float32"), LossSettings(0.05))
    seen = backward(Batch(0, np.arange(8)))
    ours = gradients(model)

    texts = data.texts
    vectors = embed(model, [data.tokens.row(i) for i in np.maximum(texts, 0).ravel()]).reshape(*texts.shape, -1)
    mask = torch.as_tensor(texts[:, NEGATIVES:] >= 0)
    expected = improved_contrastive(vectors[:, ANCHOR], vectors[:, POSITIVE], vectors[:, NEGATIVES:], mask, 0.05)
    expected.backward()
    distinct = np.unique(texts[texts >= 0])
    rows = [data.tokens.row(i) for i in distinct]
    assert seen.tokens == sum(map(len, rows)) <= seen.padded_tokens
    assert list(seen.source_losses.values()) == [seen.loss]
    vectors = F.normalize(embed(model, rows).detach(), dim=-1)
    cosines = (vectors @ vectors.T)[~torch.eye(len(rows), dtype=torch.bool)]
    assert seen.similarity == pytest.approx(cosines.mean().item(), abs=1e-5)
    assert seen.loss == pytest.approx(expected.item(), rel=1e-5)
    assert_same(ours, gradients(model))


def test_distillation_objective_is_the_loss_of_the_cosines():
    model = tiny_encoder()
    data = training_set(model, objective="distillation")
    assert data.objectives == ["distillation"]
    backward = embedding_backward(model, data, Budget(64, 0, "float32"), LossSettings(0.05, 0.2))
    seen = backward(Batch(0, np.arange(8)))
    ours = gradients(model)

    texts = data.texts
    vectors = embed(model, [data.tokens.row(i) for i in np.maximum(texts, 0).ravel()]).reshape(*texts.shape, -1)
    cosines = torch.cosine_similarity(vectors[:, :1], vectors[:, POSITIVE:], dim=-1)
    mask = torch.as_tensor(texts[:, POSITIVE:] >= 0)
    expected = distillation(cosines, torch.as_tensor(data.teacher).nan_to_num(), mask, 0.2)
    expected.backward()
    assert seen.loss == pytest.approx(expected.item(), rel=1e-5)
    # Cosines of a random model lie close together, and the min-max scale magnifies their rounding.
    assert_same(ours, gradients(model), rtol=1e-2, atol=1e-4)


class Columns(torch.nn.Module):
    """What a loss of sentence-transformers takes for a model: its features are the embeddings."""

    def forward(self, features):
        return {"sentence_embedding": features["embedding"]}

    def get_embedding_dimension(self):
        return 32


def peer_loss(objective, vectors, data, settings):
    """The loss of sentence-transformers, or where it has none the formula in float64."""
    model, teacher, scale = Columns(), torch.as_tensor(data.teacher), 1 / settings.temperature
    if objective == "distillation":
        return sum(
            weight * kl_of_min_max(vectors[..., :dim].double(), teacher.double(), settings.distillation_temperature)
            for dim, weight in zip(settings.matryoshka_dims, settings.matryoshka_weights, strict=True)
        )
    if objective == "listwise":
        return sum(
            weight * own_cross_entropy(vectors[..., :dim].double(), scale)
            for dim, weight in zip(settings.matryoshka_dims, settings.matryoshka_weights, strict=True)
        )
    directions = {
        "contrastive": ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"),
        "info_nce": ("query_to_doc",),
    }
    if objective in LABELLED:
        inner = {"cosent": peer.CoSENTLoss, "angle": peer.AnglELoss}[objective](model, scale=scale)
        vectors, teacher = vectors[:, :2], torch.as_tensor(data.labels)
    elif objective == "margin_mse":
        inner = peer.MarginMSELoss(
            model, lambda a, b: torch.cosine_similarity(a, b) / settings.distillation_temperature
        )
    else:
        inner = peer.MultipleNegativesRankingLoss(
            model, scale, directions=directions[objective], partition_mode="joint"
        )
    loss = peer.MatryoshkaLoss(model, inner, settings.matryoshka_dims, settings.matryoshka_weights)
    return loss([{"embedding": column} for column in vectors.unbind(1)], teacher)


def own_cross_entropy(vectors, scale):
    scores = torch.cosine_similarity(vectors[:, :1], vectors[:, 1:], dim=-1) * scale
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))


def kl_of_min_max(vectors, teacher, temperature):
    student = torch.cosine_similarity(vectors[:, :1], vectors[:, 1:], dim=-1)
    low, high = (f(student, 1, keepdim=True) for f in (torch.amin, torch.amax))
    log_student = ((student - low) / (high - low) / temperature).log_softmax(1)
    low, high = (f(teacher, 1, keepdim=True) for f in (torch.amin, torch.amax))
    return F.kl_div(log_student, ((teacher - low) / (high - low) / temperature).softmax(1), reduction="batchmean")


@pytest.mark.parametrize("chunk_tokens", [80, 131])
@pytest.mark.parametrize("dims", [(32,), (32, 8)])
@pytest.mark.parametrize("objective", LOSSES)
def test_every_objective_with_dropout_is_that_of_the_peer(objective, dims, chunk_tokens):
    """Some chunks are kept, some computed twice; the draws of dropout are those of one pass over all of them."""
    model = tiny_encoder(dropout=0.3).train()
    data = training_set(model, objective=objective, negatives=2)
    settings = LossSettings(0.05, 0.5, dims, [1.0, 0.5][: len(dims)])
    distinct, positions = np.unique(data.texts, return_inverse=True)
    chunks = forward_chunks(data.tokens.lengths[distinct], chunk_tokens, model.device)
    assert len(chunks) > 2 and len(chunks[-1]) < len(chunks[-2])
    assert not torch.equal(*(embed(model, [data.tokens.row(0)]) for _ in range(2)))

    torch.manual_seed(3)
    kept = int(data.tokens.lengths[distinct].sum()) // 2
    seen = embedding_backward(model, data, Budget(chunk_tokens, kept, "float32"), settings)(Batch(0, np.arange(8)))
    ours = gradients(model)

    torch.manual_seed(3)
    rows = [[data.tokens.row(distinct[i]) for i in chunk] for chunk in chunks]
    parts = torch.cat(drawn([partial(embed, model, chunk) for chunk in rows]))
    vectors = parts[np.argsort(np.concatenate(chunks))][positions.reshape(data.texts.shape)]
    expected = peer_loss(objective, vectors, data, settings)
    expected.backward()
    assert seen.loss == pytest.approx(expected.item(), rel=1e-4)
    assert_same(ours, gradients(model), rtol=1e-2, atol=1e-4 * max(abs(g).max() for g in ours.values()))


@pytest.mark.parametrize("keep_tokens", [0, 100_000])
@pytest.mark.parametrize("mini_batch", [3, 64])
def test_a_batch_has_the_loss_and_gradients_of_the_cached_loss_of_sentence_transformers(keep_tokens, mini_batch):
    model = tiny_encoder()
    data = training_set(model, negatives=1)
    seen = embedding_backward(model, data, Budget(77, keep_tokens, "float32"), LossSettings(0.05))(
        Batch(0, np.arange(8))
    )
    ours = gradients(model)
    loss = peer.CachedMultipleNegativesRankingLoss(
        model,
        scale=20,
        mini_batch_size=mini_batch,
        directions=("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"),
        partition_mode="joint",
    )
    expected = loss(
        [pad([data.tokens.row(i) for i in column], model.tokenizer.pad_token_id, None) for column in data.texts.T],
        None,
    )
    expected.backward()
    assert seen.loss == pytest.approx(expected.item(), rel=1e-4)
    assert_within_a_ten_thousandth(ours, gradients(model))


def test_groups_have_the_loss_and_gradients_of_list_net_of_sentence_transformers(tmp_path):
    """With one label far above the others its target is the positive alone."""
    model = tiny_reranker(tmp_path / "encoder")
    data = training_set(model, prompts=("", ""), special=False, negatives=2)
    seen = reranking_backward(model, data, Budget(77, 100, "float32"), 64)(Batch(-1, np.arange(8)))
    ours = gradients(model)
    rows, texts = examples(negatives=2)
    documents = [[texts[docid] for docid in (row["positive"], *row["negatives"])] for row in rows]
    loss = ListNetLoss(model, mini_batch_size=5)
    expected = loss([[texts[row["anchor"]] for row in rows], documents], [torch.tensor([40.0, 0.0, 0.0])] * 8)
    expected.backward()
    assert seen.loss == pytest.approx(expected.item(), rel=1e-4)
    assert_within_a_ten_thousandth(ours, gradients(model))


def assert_within_a_ten_thousandth(ours, theirs):
    """No component is apart by more than 1e-4 of the largest of all."""
    assert ours.keys() == theirs.keys()
    apart = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
    assert apart <= 1e-4 * max(float(gradient.abs().max()) for gradient in theirs.values())


def test_the_table_of_losses_is_the_one_recipes_are_checked_with():
    assert set(LOSSES) == {*UNTAUGHT, *RERANKING, *TAUGHT, *LABELLED}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LossSettings(0.1, 1.0, [64]), r"tuned.matryoshka_dims: \[64\]; give dimensions up to that of the model, 32"),
        (LossSettings(0.1, 1.0, [8]), r"matryoshka_dims: \[8\].* 32 among them"),
        (LossSettings(0.1, 1.0, []), r"matryoshka_dims"),
        (LossSettings(0.1, 1.0, [32, 8], [1]), r"tuned.matryoshka_weights: \[1\]; give one for each"),
        (LossSettings(0.1, 1.0, None, [1]), r"matryoshka_weights"),
    ],
)
def test_matryoshka_dimensions_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        settings.check(32, "tuned")


def test_a_pair_without_a_score_of_the_teacher_is_an_error_where_it_is_needed():
    rows, texts = examples("margin_mse", negatives=1)
    scores = {(r["query_id"], d): 1.0 for r in rows for d in (r["positive"], *r["negatives"])}
    del scores["q3", rows[3]["negatives"][0]]
    tokens = tokenize(tiny_encoder().tokenizer, ["x"], 8)
    with pytest.raises(DataError, match=r"example e3 of source 's' \(margin_mse\).*score_with_teacher"):
        assemble(rows, texts, ("", ""), lambda _: tokens, scores)
    for row in rows:
        row["objective"] = "contrastive"
    assert np.isnan(assemble(rows, texts, ("", ""), lambda _: tokens, scores).teacher).sum() == 1


@pytest.mark.parametrize("keep_tokens", [0, 60, 100_000])
def test_reranking_objective_is_listwise_over_whole_groups(tmp_path, keep_tokens):
    model = tiny_reranker(tmp_path / "encoder")
    data = training_set(model, prompts=("", ""), special=False)
    backward = reranking_backward(model, data, Budget(40, keep_tokens, "float32"), 64)
    seen = backward(Batch(-1, np.arange(8)))
    ours = gradients(model)

    rows, texts = examples()
    scores, mask = torch.zeros(8, 3), torch.zeros(8, 3, dtype=torch.bool)
    for i, row in enumerate(rows):
        docids = [row["positive"], *row["negatives"]]
        features = model.tokenizer([texts[row["anchor"]]] * len(docids), [texts[d] for d in docids], padding=True,
                                   return_tensors="pt")  # fmt: skip
        scores[i, : len(docids)] = model.model(**features).logits.squeeze(-1)
        mask[i, : len(docids)] = True
    expected = listwise_cross_entropy(scores, mask)
    expected.backward()
    assert seen.loss == pytest.approx(expected.item(), rel=1e-4)
    assert_same(ours, gradients(model))


def test_anchors_and_passages_are_cut_to_their_own_lengths():
    model = tiny_encoder()
    rows, texts = examples()
    rows[1]["positive"] = rows[0]["anchor"]  # the same text on either side
    whole, cut = (
        assemble(rows, texts, ("", ""), lambda found: tokenize(model.tokenizer, found, None, False), lengths=lengths)
        for lengths in (None, (4, 7))
    )
    assert whole.tokens.lengths.min() > 7
    assert set(cut.tokens.lengths[cut.texts[:, ANCHOR]]) == {4}
    assert set(cut.tokens.lengths[cut.texts[:, POSITIVE]]) == {7}


def test_prompts_and_shuffled_positives_are_in_the_tokens():
    model = tiny_encoder()
    rows, texts = examples()
    texts[rows[0]["positive"]] = "一つ目。二つ目。三つ目。四つ目。"
    rows[0]["shuffled"] = True
    strings = []

    def spy(found):
        strings.extend(found)
        return tokenize(model.tokenizer, found, 32)

    data = assemble(rows, texts, (PROMPTS["query"], PROMPTS["document"]), spy)
    positive = strings[data.texts[0, POSITIVE]]
    assert positive.startswith("文章: ") and positive != "文章: 一つ目。二つ目。三つ目。四つ目。"
    assert sorted(positive) == sorted("文章: 一つ目。二つ目。三つ目。四つ目。")
    assert all(strings[row].startswith("クエリ: ") for row in data.texts[:, ANCHOR])
