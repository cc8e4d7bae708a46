"""The tokenizer that a recipe without a base model trains: the same on ordinary text, also with one endless word."""

import random

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from ruri_kedro.models import tokenizer
from ruri_kedro.models.tokenizer import train_tokenizer

SENTENCES = [
    "吾輩は猫である。名前はまだ無い。", "どこで生れたかとんと見当がつかぬ。", "Tokyo is 東京、ﾄｳｷｮｳ！！",
    "スーパーコンピューター「富岳」", "2024年1月1日、12:34:56。", "！？…──（笑）www", "https://example.org/a_b-c?d=e",
]  # fmt: skip


def trained_plainly(texts, vocab_size, max_piece_chars):
    """Training without a bound on words, as it was written first."""
    plain = Tokenizer(models.BPE(unk_token="[UNK]"))
    plain.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    plain.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(tokenizer._SCRIPTS, "isolated")]
    )
    plain.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(tokenizer._SPECIAL.values()),
            max_token_length=max_piece_chars,
            show_progress=False,
        ),
    )
    return plain


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_text_gives_the_tokenizer_that_it_gave(seed):
    rng = random.Random(seed)
    texts = ["".join(rng.choices(SENTENCES, k=4)) for _ in range(60)] + ["あ" * 256, "ー" * 255 + " x" * 300]
    made, plain = train_tokenizer(texts, 300, 6).backend_tokenizer, trained_plainly(texts, 300, 6)
    assert made.get_vocab() == plain.get_vocab() and made.pre_tokenizer.__getstate__() == (
        plain.pre_tokenizer.__getstate__()
    )
    assert [made.encode(text, add_special_tokens=False).ids for text in texts] == [
        plain.encode(text).ids for text in texts
    ]


@pytest.mark.parametrize("letters", ["あいうえお", "山川海空", "abcde", "。、「」・", "яжшщю"])
def test_an_endless_word_is_learnt_from_in_parts(letters):
    """Its pairs are counted in stretches of 256 characters; as one word it would take time by its square."""
    word = "".join(random.Random(0).choices(letters, k=3000))
    parts = [word[start : start + 256] for start in range(0, len(word), 256)]
    made = train_tokenizer([word], 60, 4)
    assert made.get_vocab() == train_tokenizer(parts, 60, 4).get_vocab()
    assert made.decode(
        made(word, add_special_tokens=False)["input_ids"]
    ) == made.backend_tokenizer.normalizer.normalize_str(word)
