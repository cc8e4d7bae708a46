"""A small Japanese tokenizer trained on the corpus itself, for recipes that name no base model."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
# Pieces never cross a change of script, which in Japanese mostly is a word boundary.
_SCRIPTS = Regex(r"[\p{Han}々〆ヶ]+|\p{Hiragana}+|[\p{Katakana}ー]+|\p{Latin}+|\p{N}")
# While it is trained, words end after so many characters: a merge looks through every word that has its pair, so one
# word of a million characters would take days.
_LONGEST = Regex(r".{1,256}")


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_piece_chars: int) -> PreTrainedTokenizerFast:
    """BPE over the texts, split by script; the same texts give the same tokenizer.

    BPE and not Unigram because the trainer of the latter gives another vocabulary in every run. The result is
    saved in the plain format that `AutoTokenizer` reads.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=_SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    by_script = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(_SCRIPTS, "isolated")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*by_script, pre_tokenizers.Split(_LONGEST, "isolated")])
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(_SPECIAL.values()),
        max_token_length=max_piece_chars,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(by_script)
    cls, sep = (tokenizer.token_to_id(_SPECIAL[name]) for name in ("cls_token", "sep_token"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **_SPECIAL
    )
