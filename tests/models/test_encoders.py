"""Encoding and scoring give what sentence-transformers gives, whatever the budget; models load with plain classes."""

import logging
from functools import partial
from itertools import islice
from logging.handlers import QueueHandler
from queue import SimpleQueue

import numpy as np
import pytest
import torch
from bases import tohoku_bert
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import CrossEncoder, SentenceTransformer
from tiny import PROMPTS, TEXTS, tiny_encoder, tiny_reranker
from transformers import AutoTokenizer

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.base import freeze_position_embeddings, load_cross_encoder, load_encoder
from ruri_kedro.models.forward import encode, score_pairs
from ruri_kedro.models.pairs import PairLayout
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.models.tokens import chunk_by_padding, chunk_by_tokens, pad, padded_length, tokenize

LONG = "".join(TEXTS)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    tiny_encoder().save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize("chunk_tokens", [1, 50, 4096])
def test_encode_is_that_of_sentence_transformers(encoder, chunk_tokens):
    texts = [*TEXTS, LONG, "あ"]
    ours = encode(load_encoder(encoder), texts, PROMPTS["query"], None, chunk_tokens)
    theirs = SentenceTransformer(str(encoder), device="cpu").encode(
        texts, prompt_name="query", normalize_embeddings=True
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_scores_are_those_of_the_cross_encoder(tmp_path):
    model = tiny_reranker(tmp_path / "encoder")
    model.save_pretrained(str(tmp_path / "reranker"))
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[0], LONG), (LONG, TEXTS[2]), (LONG, LONG), ("あ", "い")]
    theirs = CrossEncoder(str(tmp_path / "reranker"), device="cpu").predict(pairs, activation_fn=torch.nn.Identity())
    ours = score_pairs(load_cross_encoder(tmp_path / "reranker"), pairs, None, 100)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("precision", "most"), [("float32", 0), ("float16", 3e-3), ("bfloat16", 3e-2)])
def test_scores_and_embeddings_of_a_lower_precision_are_close(tmp_path, encoder, precision, most):
    reranker, embedder = tiny_reranker(tmp_path / "encoder"), load_encoder(encoder)
    pairs = [(TEXTS[i], TEXTS[j]) for i in range(6) for j in range(6, 18)]
    for reader, read in (
        (reranker, partial(score_pairs, reranker, pairs, None, 200)),
        (embedder, partial(encode, embedder, TEXTS, PROMPTS["query"], 64, 200)),
    ):
        exact, found = read(), read(precision=precision)
        assert found.dtype == np.float32
        error = np.abs(found - exact).max() / np.ptp(exact)
        assert (error > 0) == (most > 0), "another precision computes with other numbers"
        assert error <= most
        assert {parameter.dtype for parameter in reader.parameters()} == {torch.float32}


def test_a_new_head_is_not_reported_as_missing(tmp_path):
    said = QueueHandler(SimpleQueue())
    logger = logging.getLogger("transformers")
    logger.addHandler(said)
    try:
        tiny_reranker(tmp_path / "encoder")
        assert said.queue.empty()
        logger.warning("others are heard")
        assert not said.queue.empty()
    finally:
        logger.removeHandler(said)


def test_learned_positions_are_frozen_and_rotary_ones_are_none(tmp_path):
    model = load_encoder(tohoku_bert(tmp_path / "base"))
    assert freeze_position_embeddings(model) == 1
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert len(frozen) == 1 and "position_embeddings" in frozen[0]
    assert freeze_position_embeddings(tiny_encoder()) == 0


def test_the_tokenizer_is_a_plain_one_and_the_same_in_every_run(encoder):
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    assert tokenizer.decode(tokenizer(TEXTS[0])["input_ids"], skip_special_tokens=True).replace(" ", "") == TEXTS[0]
    again = tiny_encoder()
    assert again.tokenizer.get_vocab() == tokenizer.get_vocab()
    first = SentenceTransformer(str(encoder), device="cpu").state_dict()
    assert all(torch.equal(value, first[name]) for name, value in again.state_dict().items())


def test_prompts_similarity_and_pooling_are_saved(encoder):
    model = SentenceTransformer(str(encoder), device="cpu")
    assert {name: model.prompts[name] for name in PROMPTS} == PROMPTS
    assert model.similarity_fn_name == "cosine"
    assert model[1].pooling_mode == "mean"


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 120))
def test_chunks_are_a_partition_within_the_budget(lengths, budget):
    lengths = np.array(lengths, dtype=np.int64)
    chunks = chunk_by_tokens(lengths, budget)
    assert sorted(i for chunk in chunks for i in chunk) == list(range(len(lengths)))
    for chunk in chunks:
        assert len(chunk) == 1 or padded_length(int(lengths[chunk].max())) * len(chunk) <= budget


@given(st.lists(st.integers(1, 60), max_size=9), st.integers(1, 300), st.integers(0, 100))
def test_chunks_by_padding_have_the_least_of_it(lengths, budget, per_chunk):
    def cost(sizes):
        """Of the rows in order of length cut into chunks of these sizes; None where one is over the budget."""
        total, rows = 0, iter(sorted(lengths, reverse=True))
        for size in sizes:
            tokens = padded_length(max(islice(rows, size))) * size
            if size > 1 and tokens > budget:
                return None
            total += tokens + per_chunk
        return total

    def compositions(rows):
        return [[]] if not rows else [[n, *rest] for n in range(1, rows + 1) for rest in compositions(rows - n)]

    chunks = chunk_by_padding(np.array(lengths, dtype=np.int64), budget, per_chunk)
    found = [lengths[place] for chunk in chunks for place in chunk]
    assert found == sorted(lengths, reverse=True)
    assert sorted(place for chunk in chunks for place in chunk.tolist()) == list(range(len(lengths)))
    costs = [cost(sizes) for sizes in compositions(len(lengths))]
    assert cost([len(chunk) for chunk in chunks]) == min(one for one in costs if one is not None)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_rows_are_padded_to_multiples_of_eight_that_the_model_can_read(longest, limit):
    free, bounded = padded_length(longest), padded_length(longest, limit)
    assert longest <= free < longest + 8 and free % 8 == 0
    assert bounded == min(free, max(longest, limit))
    features = pad([np.arange(longest, dtype=np.int32), np.arange(1, dtype=np.int32)], 7, limit)
    assert features["input_ids"].shape == features["attention_mask"].shape == (2, bounded)
    assert features["input_ids"][1, 1:].eq(7).all() and features["attention_mask"].sum() == longest + 1


@pytest.mark.parametrize("max_length", [8, 13, 64])
def test_joined_pairs_are_the_tokenizers_own(tmp_path, max_length):
    for tokenizer in (tiny_encoder().tokenizer, load_encoder(tohoku_bert(tmp_path / "base")).tokenizer):
        layout = PairLayout.of(tokenizer)
        texts = [TEXTS[0], "東京の図書館", LONG]
        rows = tokenize(tokenizer, texts, None, special=False)
        for i, first in enumerate(texts):
            for j, second in enumerate(texts):
                ours = layout.features([(rows.row(i), rows.row(j))], max_length, "cpu")
                theirs = tokenizer(first, second, truncation="longest_first", max_length=max_length)
                length = len(theirs["input_ids"])
                assert ours["input_ids"][0, :length].tolist() == theirs["input_ids"]
                assert ours["attention_mask"].sum() == length
                if layout.has_types:
                    assert ours["token_type_ids"][0, :length].tolist() == theirs["token_type_ids"]


def test_a_name_without_revision_is_refused():
    with pytest.raises(RecipeError, match="has no revision"):
        load_encoder("cl-nagoya/ruri-base")
    with pytest.raises(RecipeError, match="has no revision"):
        EncoderReference.of({"name": "cl-nagoya/ruri-base"}, None)
