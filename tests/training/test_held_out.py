"""What is measured on held-out examples while a training goes on."""

import math

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from tiny import PROMPTS, tiny_encoder, tiny_reranker
from train_tables import examples_table, stage, tables

from ruri_kedro.errors import RecipeError
from ruri_kedro.training.held_out import alignment, held_out_rows, ndcg, uniformity
from ruri_kedro.training.run import train_embedder, train_reranker

EVERY_THREE = {"steps": 3, "rows": 5}
NAMES = ["held_out/alignment", "held_out/uniformity", "held_out/ndcg_at_10"]


def normalised(rng, rows, width=6):
    vectors = rng.normal(size=(rows, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_alignment_and_uniformity_are_their_definitions():
    rng = np.random.default_rng(0)
    a, p = normalised(rng, 7), normalised(rng, 7)
    first, second = torch.from_numpy(a), torch.from_numpy(p)
    # The code that the paper gives (arXiv 2005.10242, Figure 5).
    assert alignment(a, p) == pytest.approx((first - second).norm(p=2, dim=1).pow(2).mean().item(), rel=1e-5)
    assert uniformity(a) == pytest.approx(torch.pdist(first, p=2).pow(2).mul(-2).exp().mean().log().item(), rel=1e-5)
    assert uniformity(np.repeat(a[:1], 3, axis=0)) == pytest.approx(0, abs=1e-5)
    assert uniformity(a[:1]) == 0


def test_ndcg_counts_those_that_are_not_worse():
    scores = np.array([[5.0, 9.0, 5.0, 1.0]])
    everyone = np.array([[False, True, True, True]])
    assert ndcg(scores[:, 0], scores, everyone) == pytest.approx(1 / math.log2(4))  # behind two of them: rank 3
    assert ndcg(scores[:, 0], scores, np.array([[False, False, False, True]])) == 1
    alike = np.zeros((1, 30))
    assert ndcg(alike[:, 0], alike, np.arange(30)[None] > 0) == 0
    nothing = np.full((1, 30), np.nan)
    assert ndcg(nothing[:, 0], nothing, np.arange(30)[None] > 0) == 0


def held_out(tmp_path, objective="contrastive", count=9):
    """Examples of two sources, those of `count` numbers held out."""
    first, passages = tables(tmp_path, objective)
    rows = {name: list(first.iter_rows([name])) for name in ("faq", "nli")}
    for number, row in enumerate(rows["nli"]):
        row["split"] = "validation" if number < count else "train"
    return examples_table(tmp_path / "split", rows), passages


def test_some_held_out_examples_are_taken_whatever_their_order(tmp_path):
    examples, _ = held_out(tmp_path)
    assert [row["example_id"] for row in held_out_rows(examples, 4)] == ["nli0", "nli1", "nli2", "nli3"]
    assert len(held_out_rows(examples, 100)) == 9


def embedder(tmp_path, settings, **more):
    seen = {}
    model = train_embedder(
        tiny_encoder(dropout=0.1), *held_out(tmp_path), PROMPTS, stage(tmp_path, settings, epochs=2, **more),
        lambda step, metrics: seen.update({step: metrics}),
    )  # fmt: skip
    return model, seen


def test_an_embedder_is_measured_every_some_steps_and_at_the_end(tmp_path):
    model, seen = embedder(tmp_path, EVERY_THREE)
    assert [step for step, metrics in seen.items() if NAMES[0] in metrics] == [3, 6, 8] and max(seen) == 8
    rows = held_out_rows(held_out(tmp_path)[0], 5)
    texts = {row["docid"]: row["text"] for row in tables(tmp_path)[1].iter_rows()}
    model.save_pretrained(str(tmp_path / "model"))
    saved = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    saved.max_seq_length = 32
    a, p = (
        saved.encode([texts[row[side]] for row in rows], prompt_name=name, normalize_embeddings=True)
        for side, name in (("anchor", "query"), ("positive", "document"))
    )
    ranks = [sum(a[i] @ p[j] > a[i] @ p[i] for j in range(5)) for i in range(5)]
    expected = [alignment(a, p), uniformity(np.concatenate([a, p])), np.mean([1 / math.log2(r + 2) for r in ranks])]
    assert [seen[8][name] for name in NAMES] == pytest.approx(expected, abs=1e-5)


def test_a_reranker_is_measured_among_the_passages_of_each_query(tmp_path):
    seen = {}
    model = train_reranker(
        tiny_reranker(tmp_path / "base"), *held_out(tmp_path, "listwise"), stage(tmp_path, EVERY_THREE, max_length=64),
        lambda step, metrics: seen.update({step: metrics}),
    )  # fmt: skip
    rows = held_out_rows(held_out(tmp_path, "listwise")[0], 5)
    texts = {row["docid"]: row["text"] for row in tables(tmp_path)[1].iter_rows()}
    model.save_pretrained(str(tmp_path / "model"))
    saved = CrossEncoder(str(tmp_path / "model"), device="cpu")
    pairs = [(texts[row["anchor"]], texts[d]) for row in rows for d in (row["positive"], row["negatives"][0])]
    scores = saved.predict(pairs, activation_fn=torch.nn.Identity()).reshape(5, 2)
    expected = np.mean([1.0 if positive > negative else 1 / math.log2(3) for positive, negative in scores])
    assert seen[max(seen)]["held_out/ndcg_at_10"] == pytest.approx(expected)
    assert NAMES[0] not in seen[max(seen)]


def test_measuring_does_not_change_the_training(tmp_path):
    plain, _ = embedder(tmp_path / "plain", None)
    measured, seen = embedder(tmp_path / "measured", {"steps": 1, "rows": 9})
    assert all(NAMES[0] in metrics for metrics in seen.values())
    weights = measured.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in plain.state_dict().items())


def test_without_held_out_examples_nothing_is_measured(tmp_path):
    seen = []
    train_embedder(
        tiny_encoder(),
        *tables(tmp_path),
        PROMPTS,
        stage(tmp_path, EVERY_THREE),
        lambda _, metrics: seen.append(metrics),
    )
    assert seen and not any(name in metrics for metrics in seen for name in NAMES)


@pytest.mark.parametrize("settings", [{"steps": 0, "rows": 5}, {"steps": 5, "rows": 0}])
def test_no_steps_or_rows_are_an_error(tmp_path, settings):
    with pytest.raises(RecipeError, match=r"run.held_out\.(steps|rows): 0 is given, expected is greater"):
        train_embedder(None, None, None, PROMPTS, stage(tmp_path, settings), None)
