"""Japanese sentence splitting and the shuffled copies made with it."""

import random

_ENDS = frozenset("。！？!?．")
_OPEN = dict(zip("「『（(【〈《［[", "」』）)】〉》］]", strict=True))


def split_sentences(text: str) -> list[str]:
    """Sentences of `text` in order; joined again they give `text` exactly.

    A full stop inside quotes or brackets does not end a sentence. A bracket that is never closed is a plain
    character.
    """
    sentences: list[str] = []
    start = 0
    expected: list[str] = []
    for position, char in enumerate(text):
        if char in _OPEN and text.find(_OPEN[char], position + 1) >= 0:
            expected.append(_OPEN[char])
        elif expected and char == expected[-1]:
            expected.pop()
        is_last_of_run = position + 1 == len(text) or text[position + 1] not in _ENDS
        if char == "\n" or (char in _ENDS and not expected and is_last_of_run):
            sentences.append(text[start : position + 1])
            start = position + 1
    if start < len(text):
        sentences.append(text[start:])
    return sentences


def shuffle_sentences(text: str, seed: int | str) -> str:
    """`text` with its sentences in another order where there is one; deterministic in `seed`.

    Source: Ruri, Tables 14 and 15, "shuffle positive".
    """
    sentences = split_sentences(text)
    random.Random(seed).shuffle(sentences)
    return "".join(sentences)
