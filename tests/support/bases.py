"""Tiny checkpoints of the classes and tokenizers of the paper's base models, as their repositories hold them."""

import json
from pathlib import Path

import sentencepiece
import torch
from tiny import TEXTS
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

WORDS = [
    "東京",
    "の",
    "図書",
    "館",
    "は",
    "年",
    "に",
    "市",
    "が",
    "。",
    "美術",
    "駅",
    "建て",
    "た",
    "##館",
    "文章",
    ":",
]
POSITIONS = 64


def line_distilbert(folder: Path, tokenizer_class: str = "BertJapaneseTokenizer", positions: int = POSITIONS) -> Path:
    """As line-corporation/line-distilbert-base-japanese: MeCab, SentencePiece, and a tokenizer in remote code.

    Models made of it, such as cl-nagoya/ruri-small, name the class of the remote code in `tokenizer_class`.
    """
    folder.mkdir(parents=True)
    (folder / "texts.txt").write_text("\n".join(" ".join(text) for text in TEXTS), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts.txt"), model_prefix=str(folder / "spiece"), vocab_size=80, hard_vocab_limit=False,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="<pad>", unk_piece="<unk>", bos_piece="[CLS]",
        eos_piece="[SEP]", user_defined_symbols=["[MASK]"], minloglevel=2,
    )  # fmt: skip
    (folder / "distilbert_japanese_tokenizer.py").write_text("raise SystemExit('code of the checkpoint was run')")
    mask = {"content": "[MASK]", "single_word": False, "lstrip": True, "rstrip": False, "normalized": False}
    config = {
        "do_lower_case": True,
        "remove_space": True,
        "keep_accents": True,
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "unk_token": "<unk>",
        "sep_token": "[SEP]",
        "pad_token": "<pad>",
        "cls_token": "[CLS]",
        "mask_token": {**mask, "__type": "AddedToken"},
        "tokenize_chinese_chars": False,
        "tokenizer_class": tokenizer_class,
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": "sentencepiece",
        "mecab_kwargs": {"mecab_dic": "unidic_lite"},
        "auto_map": {"AutoTokenizer": ["distilbert_japanese_tokenizer.DistilBertJapaneseTokenizer", None]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    sizes = DistilBertConfig(
        vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=positions
    )
    return save(DistilBertModel, sizes, folder)


def derived_distilbert(folder: Path) -> Path:
    """As models that were trained from LINE's and saved again."""
    return line_distilbert(folder, "DistilBertJapaneseTokenizer")


def tohoku_bert(folder: Path, positions: int = POSITIONS) -> Path:
    """As tohoku-nlp/bert-base-japanese-v3: MeCab with unidic-lite, WordPiece, nothing but vocab.txt."""
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    config = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "model_max_length": 512,
        "do_lower_case": False,
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": "wordpiece",
        "mecab_kwargs": {"mecab_dic": "unidic_lite"},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    sizes = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=positions,
    )  # fmt: skip
    return save(BertModel, sizes, folder)


def modernbert_ja(folder: Path) -> Path:
    """As sbintuitions/modernbert-ja-*: SentencePiece only, in tokenizer.json, named LlamaTokenizer."""
    tokenizer(folder, "<s>", "</s>", "LlamaTokenizer")
    sizes = ModernBertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=8192, pad_token_id=3, bos_token_id=1, eos_token_id=2, cls_token_id=6, sep_token_id=4,
        local_attention=16,
    )  # fmt: skip
    return save(ModernBertModel, sizes, folder)


def roberta(folder: Path, positions: int = POSITIONS) -> Path:
    """A RoBERTa, whose positions are counted from behind the padding's."""
    tokenizer(folder, "<s>", "</s>", "PreTrainedTokenizerFast")
    sizes = RobertaConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=positions + 4, pad_token_id=3, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return save(RobertaModel, sizes, folder)


BASES = {
    "line": line_distilbert,
    "tohoku": tohoku_bert,
    "modernbert": modernbert_ja,
    "roberta": roberta,
}


def tokenizer(folder: Path, first: str, last: str, name: str) -> None:
    """A Unigram tokenizer of the texts that calls itself `name`."""
    special = ["<unk>", first, last, "<pad>", "<sep>", "<mask>", "<cls>"]
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(vocab_size=110, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    ids = [(token, made.token_to_id(token)) for token in (first, last)]
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=f"{first} $A {last} $B {last}", special_tokens=ids
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token=first, eos_token=last, pad_token="<pad>",
        sep_token="<sep>", mask_token="<mask>", cls_token="<cls>", model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"tokenizer_class": name}), encoding="utf-8")


def save(kind: type, config, folder: Path) -> Path:
    """A model in the folder, of random weights large enough that its outputs depend on the text."""
    config.initializer_range = 0.2
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    return folder
