"""The paper's base models: loaded, trained and saved, they are plain models for sentence-transformers."""

import json
import sys

import numpy as np
import pytest
import torch
from bases import BASES, POSITIONS, derived_distilbert, line_distilbert, modernbert_ja, roberta, tohoku_bert
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from tiny import BASE_MODEL, PROMPTS, TEXTS, tiny_encoder
from train_tables import stage, tables
from transformers import AutoModel, AutoTokenizer, BertJapaneseTokenizer

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.base import _set_pooling, build_cross_encoder, check_length, load_cross_encoder, load_encoder
from ruri_kedro.models.checkpoint import plain_tokenizer
from ruri_kedro.models.forward import encode, score_pairs
from ruri_kedro.pipelines.adaptation.nodes import make_base_model
from ruri_kedro.training.run import train_embedder, train_reranker

LONG = "".join(TEXTS)


@pytest.fixture(scope="module", params=BASES)
def base(request, tmp_path_factory):
    return BASES[request.param](tmp_path_factory.mktemp("bases") / request.param)


def test_a_base_gets_mean_pooling_over_its_hidden_states(base):
    model = load_encoder(base, PROMPTS)
    ours = encode(model, TEXTS[:6], PROMPTS["query"], None, 200)
    hidden_model = AutoModel.from_pretrained(base).eval()
    for text, vector in zip(TEXTS[:6], ours, strict=True):
        ids = torch.tensor([model.tokenizer(PROMPTS["query"] + text)["input_ids"]])
        with torch.inference_mode():
            mean = hidden_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(1)
        np.testing.assert_allclose(vector, torch.nn.functional.normalize(mean)[0].numpy(), atol=1e-5)


def test_a_trained_embedder_is_a_plain_model(base, tmp_path):
    model = load_encoder(base, PROMPTS)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = stage(tmp_path, freeze_position_embeddings=True)
    train_embedder(model, *tables(tmp_path), PROMPTS, settings, lambda *_: None)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    positions = {name for name in before if "position_embeddings" in name}
    assert changed and not changed & positions and bool(positions) == ("modernbert" not in base.name)
    model.save_pretrained(str(tmp_path / "model"))
    plain = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    texts = [*TEXTS[:6], LONG]
    theirs = plain.encode(texts, prompt_name="document", normalize_embeddings=True)
    np.testing.assert_allclose(encode(model, texts, PROMPTS["document"], None, 200), theirs, atol=1e-5)
    assert [type(module) for module in plain] == [Transformer, Pooling]
    assert not list((tmp_path / "model").rglob("*.py"))
    assert "auto_map" not in json.loads((tmp_path / "model/tokenizer_config.json").read_text("utf-8"))


def test_a_trained_reranker_is_a_plain_model(base, tmp_path):
    load_encoder(base, PROMPTS).save_pretrained(str(tmp_path / "encoder"))
    model = build_cross_encoder(tmp_path / "encoder", POSITIONS, seed=0)
    settings = stage(tmp_path, max_length=POSITIONS, batch_size=8)
    train_reranker(model, *tables(tmp_path, "listwise"), settings, lambda *_: None)
    model.save_pretrained(str(tmp_path / "reranker"))
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[0], LONG), (LONG, TEXTS[2]), ("東京", "市。")]
    plain = CrossEncoder(str(tmp_path / "reranker"), device="cpu", max_length=POSITIONS)
    theirs = plain.predict(pairs, activation_fn=torch.nn.Identity())
    ours = score_pairs(load_cross_encoder(tmp_path / "reranker", POSITIONS), pairs, None, 100)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.ptp(theirs) > 1e-3, "the scores depend on the texts"


def test_the_tokenizer_of_line_is_words_of_mecab_cut_by_sentencepiece(tmp_path):
    """Also in models made of it, which name a class that no package has."""
    import fugashi
    import sentencepiece
    import unidic_lite

    made = {"line": line_distilbert(tmp_path / "line"), "derived": derived_distilbert(tmp_path / "derived")}
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(made["line"] / "spiece.model"))
    mecab = fugashi.GenericTagger(f'-d "{unidic_lite.DICDIR}" -r "{unidic_lite.DICDIR}/mecabrc"')
    for folder in made.values():
        tokenizer = load_encoder(folder).tokenizer
        assert isinstance(tokenizer, BertJapaneseTokenizer)
        for text in TEXTS[::5]:
            words = [word.surface.lower() for word in mecab(text)]
            assert tokenizer(text)["input_ids"] == [2, *(i for word in words for i in pieces.encode(word)), 3]


def test_bert_is_told_which_text_a_token_is_of(tmp_path):
    base = tohoku_bert(tmp_path / "base")
    model = load_encoder(base)
    model.save_pretrained(str(tmp_path / "saved"))
    for tokenizer in (model.tokenizer, AutoTokenizer.from_pretrained(tmp_path / "saved")):
        assert set(tokenizer("東京", "駅")["token_type_ids"]) == {0, 1}
    assert "model_input_names" not in plain_tokenizer({"tokenizer_class": "BertJapaneseTokenizer"}, "distilbert")


def test_a_model_reads_no_more_tokens_than_it_has_positions(base):
    model = load_encoder(base)
    limit = 8192 if "modernbert" in base.name else POSITIONS
    assert model.max_seq_length == limit
    assert encode(model, [LONG * 20], "", min(limit, 200), 9000).shape == (1, 32)
    check_length(model, limit, "finetuning.max_length")
    if limit == POSITIONS:
        with pytest.raises(RecipeError, match=r"finetuning.max_length: 65, but the model reads 64 tokens at most"):
            check_length(model, limit + 1, "finetuning.max_length")


def test_a_stage_longer_than_the_model_is_refused_before_it_starts(tmp_path):
    model = load_encoder(roberta(tmp_path / "base"))
    with pytest.raises(RecipeError, match=r"tuned.max_length: 512, but the model reads 64"):
        train_embedder(model, *tables(tmp_path), PROMPTS, stage(tmp_path, max_length=512), lambda *_: None)


@pytest.mark.parametrize("mode", ["cls", "max"])
def test_a_model_with_modules_keeps_them(tmp_path, mode):
    transformer = tiny_encoder()[0]
    modules = [transformer, Pooling(32, pooling_mode=mode), Dense(32, 8), Normalize()]
    theirs = SentenceTransformer(modules=modules, device="cpu", prompts={"query": "q: "})
    theirs.save_pretrained(str(tmp_path / "model"))
    ours = load_encoder(tmp_path / "model")
    assert ours[1].pooling_mode == mode and ours.prompts["query"] == "q: "
    assert ours.get_embedding_dimension() == 8
    expected = theirs.encode(TEXTS[:4], normalize_embeddings=True)
    np.testing.assert_allclose(encode(ours, TEXTS[:4], "", None, 100), expected, atol=1e-5)


def test_a_model_on_the_hub_is_loaded_at_its_revision_with_its_modules(tmp_path, monkeypatch):
    SentenceTransformer(modules=[tiny_encoder()[0], Pooling(32, pooling_mode="cls")], device="cpu").save_pretrained(
        str(tmp_path / "model")
    )
    asked = []

    def download(name, **options):
        asked.append((name, options["revision"], any(p.endswith((".bin", ".py")) for p in options["allow_patterns"])))
        return str(tmp_path / "model")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load_encoder("owner/model", revision="0123abcd")[1].pooling_mode == "cls"
    assert asked == [("owner/model", "0123abcd", False)]


@pytest.mark.parametrize(
    ("asked", "plain", "own"), [(None, "mean", "cls"), ("cls", "cls", "cls"), ("mean", "mean", "mean")]
)
def test_pooling_is_that_of_the_recipe_else_of_the_checkpoint_else_mean(tmp_path, asked, plain, own):
    modules = [tiny_encoder()[0], Pooling(32, pooling_mode="cls")]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(tmp_path / "model"))
    model = load_encoder(tmp_path / "model", pooling=asked)
    assert model[1].pooling_mode == own
    assert load_encoder(tohoku_bert(tmp_path / "base"), pooling=asked)[1].pooling_mode == plain
    # The next stages read it from the folder of the model.
    model.save_pretrained(str(tmp_path / "next"))
    assert load_encoder(tmp_path / "next")[1].pooling_mode == own
    built = make_base_model(tables(tmp_path)[1], BASE_MODEL | {"pooling": asked}, PROMPTS, 0)
    assert built[1].pooling_mode == plain


def test_pooling_of_a_model_without_one_is_refused(tmp_path):
    model = SentenceTransformer(modules=[tiny_encoder()[0], Pooling(32), Normalize()], device="cpu")
    del model[1]
    with pytest.raises(
        RecipeError, match=r"base_model\.pooling: cls, but 'here' has no module Pooling\. Set it to null"
    ):
        _set_pooling(model, "cls", "here")


def test_what_the_hub_refuses_is_one_error(monkeypatch):
    def download(*_, **__):
        raise OSError("404 Client Error.\nRevision Not Found")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(RecipeError, match=r"^model 'owner/model' at revision 0123 cannot be had.*404 Client Error\..*"):
        load_cross_encoder("owner/model", revision="0123")


def test_pickled_weights_are_not_read_and_the_remedy_is_named(tmp_path):
    base = line_distilbert(tmp_path / "base")
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(RecipeError, match=r"no weights as safetensors.*Adding safetensors variant"):
        load_encoder(base)


@pytest.mark.parametrize("absent", ["fugashi", "unidic_lite"])
def test_an_absent_word_splitter_names_the_extra(tmp_path, monkeypatch, absent):
    monkeypatch.setitem(sys.modules, absent, None)
    for build in (line_distilbert, tohoku_bert):
        with pytest.raises(RecipeError, match=r"pip install 'ruri-kedro\[japanese\]'"):
            load_encoder(build(tmp_path / build.__name__))
    assert load_encoder(modernbert_ja(tmp_path / "other")).max_seq_length == 8192
