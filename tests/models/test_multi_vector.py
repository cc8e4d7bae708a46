"""The kind multi_vector: built on any encoder, read and written as sentence-transformers does."""

import numpy as np
import pytest
import torch
from sentence_transformers import MultiVectorEncoder
from tiny import BASE_MODEL, PROMPTS, TEXTS, tiny_encoder

from ruri_kedro.benchmark.scoring import asking
from ruri_kedro.errors import RecipeError
from ruri_kedro.models.foreign_code import code_faults
from ruri_kedro.models.kinds import KINDS, base_kinds, kind_in, kinds_of, saved_kind
from ruri_kedro.models.late_interaction import LateInteraction
from ruri_kedro.models.multi_vector import build_multi_vector, load_multi_vector, punctuation_pieces
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.models.token_vectors import Side, encode_tokens
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stages import BASE_KIND

ROW = BASE_MODEL | {"kind": "multi_vector"}
MARKS = {"query": "[Q] ", "document": "[D] "}
QUERIES = ["東京の駅はいつ建てたか。", "札幌", "美術館を直したのは誰か、どこか。" * 3]
DOCUMENTS = [*TEXTS[:5], "。。。", "図書館。" * 30]


def built(prompts=MARKS, seed=0, **changes):
    settings = parse(BaseModelSettings, ROW | changes, "base_model")
    return build_multi_vector(lambda: iter(TEXTS), settings, prompts, seed)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder") / "base"
    tiny_encoder().save_pretrained(str(folder))
    return str(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"query_expansion": False, "skip": None, "marks": False, "dimensions": None},
        {"query_expansion": 10, "skip_query": "prompt", "marks": False},
    ],
)
def test_it_is_read_and_run_as_sentence_transformers_does(changes, encoder, tmp_path):
    """The vectors of both sides, and after a save, and loaded by the class itself."""
    model = built(name=encoder, **changes)
    model.save_pretrained(str(tmp_path / "saved"))
    assert saved_kind(tmp_path / "saved") is KINDS["multi_vector"] and not list(code_faults(tmp_path / "saved", True))
    plain = MultiVectorEncoder(str(tmp_path / "saved"), device="cpu")
    expected = {"query": plain.encode_query(QUERIES), "document": plain.encode_document(DOCUMENTS)}
    for ours in (model, load_multi_vector(tmp_path / "saved")):
        for task, texts in (("query", QUERIES), ("document", DOCUMENTS)):
            found = encode_tokens(ours, texts, Side.of(ours, task), 64)
            assert found.lengths.tolist() == [len(vectors) for vectors in expected[task]]
            assert np.allclose(found.vectors, torch.cat(expected[task]).numpy(), atol=1e-5)
            assert np.array_equal(found.of(1), found.vectors[found.lengths[0] : found.lengths[:2].sum()])
    late = LateInteraction(model, 64)
    texts = DOCUMENTS[:5]
    scores = plain.similarity(expected["query"], expected["document"][:5]).numpy()
    assert np.allclose(late.search(QUERIES, texts), scores, atol=1e-4)
    pairs = [(query, text) for text in texts for query in QUERIES]
    assert np.allclose(late.score(pairs), scores.T.ravel(), atol=1e-4) and late.score([]).shape == (0,)


def test_what_has_no_vector(encoder):
    model = built(name=encoder)
    assert model.encode_query(["札幌"])[0].shape == (16, 8), "[MASK] take part"
    assert len(model.encode_document(["。。。"])[0]) == 3, "[CLS], [D] and [SEP]"
    plain = {"name": encoder, "query_expansion": False, "prompts": PROMPTS, "marks": False}
    kept = [None, "prompt", "prompt_and_special"]
    whole, *cut = (len(built(**plain, skip_query=skipped).encode_query(["札幌"])[0]) for skipped in kept)
    for found, special in zip(cut, (False, True), strict=True):
        prompt = model.tokenizer(PROMPTS["query"], add_special_tokens=special)["input_ids"]
        assert whole - found == len(prompt)
    pieces = punctuation_pieces(model.tokenizer)
    assert "。" in pieces and not any(char.isalnum() for piece in pieces for char in piece)


def test_a_mark_is_one_token_that_the_tokenizer_leaves_whole(encoder):
    model = built(name=encoder)
    assert model.tokenizer.tokenize("[Q] 東京")[0] == "[Q]"
    rows = model[0].model.get_input_embeddings().weight
    assert len(rows) == len(model.tokenizer) == len(built(name=encoder, marks=False).tokenizer) + 2
    known = rows[: len(rows) - 2].mean(dim=0)
    assert torch.allclose(rows[-1], known, atol=1e-6) and torch.equal(rows[-1], rows[-2])


def test_the_projection_is_the_pca_of_tokens_of_the_corpus(encoder):
    """It keeps more of their similarities than a random one, does not depend on the texts' order, and is seeded."""
    model, wide = built(name=encoder), built(name=encoder, dimensions=None)
    again = build_multi_vector(lambda: reversed(TEXTS), parse(BaseModelSettings, ROW | {"name": encoder}, ""), MARKS, 0)
    assert torch.equal(model[2].linear.weight, again[2].linear.weight)
    assert not torch.equal(model[2].linear.weight, built(name=encoder, seed=1)[2].linear.weight)
    vectors = encode_tokens(wide, TEXTS, Side.of(wide, "document"), 512).vectors
    centred = vectors - vectors.mean(axis=0)
    best = np.linalg.svd(centred, full_matrices=False)[2][:8]
    kept, most = (np.square(centred @ rows.T).sum() for rows in (model[2].linear.weight.detach().numpy(), best))
    assert kept > 0.98 * most


def test_a_base_that_is_one_already_keeps_its_own(encoder, tmp_path):
    built(name=encoder).save_pretrained(str(tmp_path / "first"))
    model = built(name=str(tmp_path / "first"), dimensions=4, query_length=32, prompts=PROMPTS)
    assert model.get_embedding_dimension() == 8 and model[0].query_expansion["length"] == 16
    assert model.prompts["query"] == PROMPTS["query"]
    with pytest.raises(
        RecipeError, match=r"base_model\.layers: is given, but '.*first' is a multi-vector model already"
    ):
        built(name=str(tmp_path / "first"), layers=[0])


def test_its_base_is_cut_as_that_of_an_embedder(encoder):
    model = built(name=encoder, layers=[0], dimensions=None)
    whole = built(name=encoder, dimensions=None)
    assert len(model[0].auto_model.layers) == 1 < len(whole[0].auto_model.layers)
    with pytest.raises(RecipeError, match=r"base_model\.vocabulary: corpus, but the model's tokenizer is BPE"):
        built(name=encoder, vocabulary="corpus")


def test_it_is_asked_with_its_own_prompts_or_others(encoder):
    """As those ask it who download it, it has its own."""
    model = built(name=encoder, marks=False, prompts=PROMPTS)
    pairs = [(query, text) for query in QUERIES for text in DOCUMENTS]
    evaluation = {"chunk_tokens": 64, "exact_documents": 10}
    own, given, others = (
        asking.multi_vector("late", lambda: model, prompts, evaluation).score(pairs)
        for prompts in ({}, PROMPTS, {"query": "問: ", "document": ""})
    )
    assert np.array_equal(own, given) and np.abs(own - others).max() > 1e-3
    np.testing.assert_allclose(asking.served_multi_vector(model).score(pairs), own, atol=1e-4)


def test_a_tiny_one_is_built_of_the_corpus():
    model = built()
    assert model.encode_document(TEXTS[:1])[0].shape[1] == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "cls"}, r"base_model\.pooling: cls"),
        ({"training_head": "mlp"}, r"base_model\.training_head: mlp"),
        ({"dimensions": 33}, r"base_model\.dimensions: 33, but the encoder has 32"),
        ({"document_length": 65}, r"base_model\.document_length: 65, but the model reads 64"),
        ({"query_expansion": 17}, r"base_model\.query_expansion: 17, which is above query_length, 16"),
        ({"kind": "multivector"}, r"base_model\.kind: 'multivector' is given\. Did you mean multi_vector"),
        ({"kind": "cross_encoder"}, r"base_model\.kind: 'cross_encoder' is given"),
    ],
)
def test_parameters_that_do_not_fit(changes, message, encoder):
    with pytest.raises(RecipeError, match=message):
        built(**{"name": encoder} | changes)


def test_kinds_of_base_models_share_their_nodes(tmp_path):
    """The shape of a pipeline depends on no recipe."""
    assert len({kind.evaluate for kind in base_kinds()}) == 1
    assert kinds_of(BASE_KIND) == base_kinds() and kinds_of("cross_encoder") == (KINDS["cross_encoder"],)
    assert kind_in(tmp_path, BASE_KIND) is KINDS["embedder"]
