"""Tokens of a second tokenizer added to a first: its own texts are split as before, those of the other as by that."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bases import save
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import BASE_MODEL, PROMPTS, TEXTS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.added_vocabulary import added_description, carried_rows
from ruri_kedro.models.base import load_encoder
from ruri_kedro.models.building import base_encoder
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.models.vocabulary import add_vocabulary
from ruri_kedro.recipe.parse import parse

SHARED = Path(__file__).parents[3] / "shared"
RUSSIAN = [
    f"{who} {what} {where} в {year} году, потому что {why}."
    for who in ("Учитель", "Моя сестра", "Старый друг")
    for what in ("построил школу", "открыла музей", "перенесли вокзал")
    for where, year in (("в Москве", 1901), ("на Севере", 1955), ("у реки Невы", 1987))
    for why in ("так решили жители", "город быстро растёт")
]
SPECIAL = {"unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
JAPANESE = st.text("東京のは年にがを。 abcXYZ0129,.-、あいうえお図書館駅", max_size=24)


def trained(kind, texts, size=400):
    """A tokenizer of a kind, trained on texts."""
    special = list(SPECIAL.values())
    if kind == "Unigram":
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    elif kind == "WordPiece":
        made = Tokenizer(models.WordPiece(unk_token="<unk>"))
        made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False,
                                            min_frequency=2)  # fmt: skip
    else:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, min_frequency=2,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    made.train_from_iterator(texts, trainer)
    ids = [(token, made.token_to_id(token)) for token in ("<s>", "</s>")]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>",
                                                        special_tokens=ids)  # fmt: skip
    return made


def described(tokenizer):
    return json.loads(tokenizer.to_str())


def fast(tokenizer):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **SPECIAL)


KINDS = ("Unigram", "WordPiece", "BPE")
# A first tokenizer knows the letters of the other language, as those of large models do.
LETTERS = [letter * 2 for letter in sorted(set("".join(RUSSIAN)) - set(" ,.0123456789"))]
FIRST = {kind: trained(kind, [*TEXTS, "ABCabc XYZxyz 0129", *LETTERS]) for kind in KINDS}
SECOND = {kind: trained(kind, RUSSIAN) for kind in KINDS}
BOTH = {
    kind: Tokenizer.from_str(
        json.dumps(added_description(described(FIRST[kind]), described(SECOND[kind]), ["Cyrillic"]))
    )
    for kind in KINDS
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(text=JAPANESE)
def test_a_text_without_a_letter_of_the_scripts_is_split_as_before(kind, text):
    assert BOTH[kind].encode(text).ids == FIRST[kind].encode(text).ids


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_the_other_language_take_about_the_tokens_that_they_take_in_its_own_tokenizer(kind):
    texts = ["".join(letter for letter in text if letter.isalpha() or letter == " ") for text in RUSSIAN]
    first, both, second = (sum(len(each[kind].encode(t).ids) for t in texts) for each in (FIRST, BOTH, SECOND))
    assert both <= 1.1 * second < first
    assert BOTH[kind].get_vocab_size() > FIRST[kind].get_vocab_size()
    assert not any("<unk>" in BOTH[kind].encode(text).tokens for text in texts)


@pytest.mark.parametrize("kind", KINDS)
def test_new_rows_are_the_mean_of_the_tokens_that_spelt_them(kind):
    old, new = fast(FIRST[kind]), fast(BOTH[kind])
    rows = torch.randn(len(old), 8, generator=torch.Generator().manual_seed(0))
    made = carried_rows(rows, old, new, "mean", 0)
    assert made.shape == (len(new), 8) and torch.equal(made[: len(old)], rows)
    begins = {"Unigram": "▁", "WordPiece": "", "BPE": "Ġ"}[kind]
    words = (t for t in new.get_vocab().keys() - old.get_vocab().keys() if t.startswith(begins) and "##" not in t)
    word = max(words, key=len)
    text = new.convert_tokens_to_string([word]) if kind == "BPE" else word.removeprefix(begins)
    spelt = old(text, add_special_tokens=False)["input_ids"]
    assert len(spelt) > 1
    torch.testing.assert_close(made[new.get_vocab()[word]], rows[spelt].mean(dim=0))


def test_a_piece_inside_of_a_word_is_spelt_by_pieces_inside_of_words():
    """WordPiece: not by those that begin one."""
    old, new = fast(FIRST["WordPiece"]), fast(BOTH["WordPiece"])
    rows = torch.arange(len(old), dtype=torch.float32)[:, None]
    token = max((t for t in new.get_vocab().keys() - old.get_vocab().keys() if t.startswith("##")), key=len)
    spelt = [old.get_vocab()["##" + letter] for letter in token[2:]]
    torch.testing.assert_close(carried_rows(rows, old, new, "mean", 0)[new.get_vocab()[token]], rows[spelt].mean(dim=0))


def test_random_rows_have_the_mean_and_deviation_of_the_others_and_are_those_of_the_seed():
    old, new = fast(FIRST["Unigram"]), fast(BOTH["Unigram"])
    rows = 3 + 2 * torch.randn(len(old), 64, generator=torch.Generator().manual_seed(0))
    one, same, other = (carried_rows(rows, old, new, "random", seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other) and torch.equal(one[: len(old)], rows)
    drawn = one[len(old) :]
    assert abs(float(drawn.mean()) - 3) < 0.1 and abs(float(drawn.std()) - 2) < 0.1


def test_a_row_of_biases_is_carried_as_one_of_embeddings():
    old, new = fast(FIRST["BPE"]), fast(BOTH["BPE"])
    biases = torch.arange(len(old), dtype=torch.float32)
    made = carried_rows(biases, old, new, "mean", 0)
    assert made.shape == (len(new),) and torch.equal(made[: len(old)], biases)


def test_tokens_that_no_text_contains_once_it_is_normalised_are_left_out():
    first = described(FIRST["WordPiece"]) | {"normalizer": {"type": "Lowercase"}}
    made = added_description(first, described(SECOND["WordPiece"]), ["Cyrillic"])
    assert "москве" not in made["model"]["vocab"] and "Москве" not in made["model"]["vocab"]
    assert "году" in made["model"]["vocab"]


def base_folder(folder, tokenizer):
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.cls_token_id}
    config = BertConfig(vocab_size=len(tokenizer) + 3, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=48, max_position_embeddings=64, **ids)  # fmt: skip
    return save(BertModel, config, folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_has_the_tokens_and_its_old_vectors_also_when_saved(tmp_path, kind):
    """By the parameters of a recipe, whose corpus the vocabulary may be cut to afterwards."""
    folder, other = base_folder(tmp_path / "base", fast(FIRST[kind])), tmp_path / "other"
    fast(SECOND[kind]).save_pretrained(other)
    added = {"name": str(other), "revision": None, "scripts": ["Cyrillic"], "initial": "mean"}
    block = parse(BaseModelSettings, BASE_MODEL | {"name": str(folder), "add_vocabulary": added}, "base_model")
    before, model = load_encoder(folder, PROMPTS), base_encoder(lambda: TEXTS, block, PROMPTS, 0)
    assert model[0].auto_model.config.vocab_size == len(model.tokenizer) == BOTH[kind].get_vocab_size()
    np.testing.assert_allclose(model.encode(TEXTS[:4]), before.encode(TEXTS[:4]), atol=1e-6)
    model.save_pretrained(str(tmp_path / "made"))
    again = load_encoder(tmp_path / "made")
    np.testing.assert_allclose(again.encode(RUSSIAN[:4]), model.encode(RUSSIAN[:4]), atol=1e-6)
    assert again.tokenizer(RUSSIAN[0])["input_ids"] == BOTH[kind].encode(RUSSIAN[0]).ids


def test_what_cannot_be_added_is_said(tmp_path):
    model = load_encoder(base_folder(tmp_path / "base", fast(FIRST["Unigram"])))
    with pytest.raises(RecipeError, match=r"the model's tokenizer is Unigram, the one whose tokens are added BPE"):
        add_vocabulary(model, described(SECOND["BPE"]))
    with pytest.raises(RecipeError, match=r"has no token of letters of Greek that the model's own has"):
        add_vocabulary(model, described(SECOND["Unigram"]), ["Greek"])
    row = {"name": "nobody/nothing", "revision": None, "scripts": None, "initial": "mean"}
    block = parse(BaseModelSettings, BASE_MODEL | {"name": str(tmp_path / "base"), "add_vocabulary": row}, "base_model")
    with pytest.raises(
        RecipeError, match=r"add_vocabulary\.name: 'nobody/nothing' is not a folder and has no revision"
    ):
        base_encoder(lambda: TEXTS, block, PROMPTS, 0)
    empty = tmp_path / "empty"
    empty.mkdir()
    block = parse(
        BaseModelSettings,
        BASE_MODEL | {"name": str(tmp_path / "base"), "add_vocabulary": row | {"name": str(empty)}},
        "base_model",
    )
    with pytest.raises(RecipeError, match=r"has no tokenizer\.json"):
        base_encoder(lambda: TEXTS, block, PROMPTS, 0)
    with pytest.raises(RecipeError, match=r"base_model\.add_vocabulary: is given, but neither name nor package is"):
        parse(BaseModelSettings, BASE_MODEL | {"add_vocabulary": row}, "base_model")


def texts_of(*paths, fields=("text", "question", "text1", "text2", "sentence_A_Ja"), count=10_000):
    found = []
    for path in paths:
        with gzip.open(SHARED / "data" / path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                found += [row[field] for field in fields if row.get(field)]
    return list(dict.fromkeys(found))[:count]


@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="needs ../shared/models and ../shared/data")
def test_a_japanese_model_with_russian_pieces_reads_japanese_as_before():
    """multilingual-e5-small with a Japanese vocabulary, and the pieces of one with a Russian as well."""
    folder = SHARED / "models" / "multilingual-e5-small-ja-4l"
    other = json.loads((SHARED / "models" / "packed" / "tokenizer.json").read_text("utf-8"))
    before, model = load_encoder(folder), load_encoder(folder)
    add_vocabulary(model, other, ["Cyrillic"])
    japanese = texts_of("ja/jsts/train.jsonl.gz", "ja/jsick/test.jsonl.gz", "ja/jaqket/aio_02_dev.jsonl.gz")
    assert len(japanese) == 10_000
    assert model.tokenizer(japanese)["input_ids"] == before.tokenizer(japanese)["input_ids"]
    vectors, expected = (each.encode(japanese[:32], normalize_embeddings=True) for each in (model, before))
    assert (vectors * expected).sum(axis=1).min() > 0.9999
    russian = texts_of("ru/stsb_mt/dev.jsonl.gz", "ru/intents/test.jsonl.gz", "ru/tatoeba_bitext/test.jsonl.gz")
    full = Tokenizer.from_str(json.dumps(other))
    tokens = sum(map(len, model.tokenizer(russian)["input_ids"]))
    assert tokens <= 1.1 * sum(len(row.ids) for row in full.encode_batch(russian))
    assert np.isfinite(model.encode(russian[:8])).all()
