"""Japanese sentence splitting, and the chunks and shuffled copies made with it."""

import random
from itertools import accumulate

_ENDS = frozenset("。！？!?．")
_OPEN = dict(zip("「『（(【〈《［[", "」』）)】〉》］]", strict=True))
_CLOSE = frozenset(_OPEN.values())


def split_sentences(text: str) -> list[str]:
    """Sentences of `text` in order; joined again they give `text` exactly, and none of them can be split again.

    A line ends a sentence. A full stop inside quotes or brackets does not; one that is not closed on its line, or
    crosses another, is a plain character.
    """
    return [sentence for line in text.splitlines(keepends=True) for sentence in _split_line(line)]


def _split_line(line: str) -> list[str]:
    depths = _depths(line)
    sentences: list[str] = []
    start = 0
    for position, char in enumerate(line):
        is_last_of_run = line[position + 1 : position + 2] not in _ENDS
        if char in _ENDS and not depths[position] and is_last_of_run:
            sentences.append(line[start : position + 1])
            start = position + 1
    if start < len(line):
        sentences.append(line[start:])
    return sentences


def _depths(line: str) -> list[int]:
    """In how many pairs of brackets each character stands."""
    changes = [0] * (len(line) + 1)
    opened: list[tuple[str, int]] = []
    waiting = dict.fromkeys(_CLOSE, 0)  # how many of the opened brackets each partner would close
    for position, char in enumerate(line):
        if char in _OPEN:
            opened.append((_OPEN[char], position))
            waiting[_OPEN[char]] += 1
        elif char in _CLOSE and waiting[char]:
            # Brackets that were opened since and are not closed are plain characters.
            while opened[-1][0] != char:
                waiting[opened.pop()[0]] -= 1
            waiting[char] -= 1
            changes[opened.pop()[1]] += 1
            changes[position] -= 1
    return list(accumulate(changes))


def split_chunks(text: str, max_chars: int) -> list[str]:
    """`text` in runs of whole sentences of at most `max_chars` characters each, as long as they can be, in order.

    Joined again they give `text` exactly. A longer sentence is a chunk of its own.
    """
    chunks: list[str] = []
    for sentence in split_sentences(text):
        if chunks and len(chunks[-1]) + len(sentence) <= max_chars:
            chunks[-1] += sentence
        else:
            chunks.append(sentence)
    return chunks


def shuffle_sentences(text: str, seed: int | str) -> str:
    """`text` with its sentences in another order where there is one; deterministic in `seed`.

    Source: Ruri, Tables 14 and 15, "shuffle positive".
    """
    sentences = split_sentences(text)
    random.Random(seed).shuffle(sentences)
    return "".join(sentences)
