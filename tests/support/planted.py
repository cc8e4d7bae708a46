"""Leaks planted among training texts, and what of them is found."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from leak_rules import RULES

from ruri_kedro.benchmark.leaks.contamination import find_leaks
from ruri_kedro.benchmark.leaks.matches import BenchmarkTexts, find_matches
from ruri_kedro.text.normalize import match_key

WAYS = ("exact", "embedded", "edited")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}  # ASCII to its full-width forms


@dataclass(frozen=True)
class Planted:
    """A training text that holds a test text."""

    way: str
    text: str
    test_text: str


@dataclass(frozen=True)
class Found:
    """Share of the planted leaks that were found, by way, and the unplanted pairs that are removed."""

    shares: dict[str, float]
    missed: list[Planted]
    removed: list[tuple[str, str]]


def plant(test_texts: Sequence[str], passages: Sequence[str], count: int, seed: int) -> list[Planted]:
    """`count` leaks, a third each: in other width, case and punctuation; inside a passage; 1 to 3 characters changed.

    A text to embed has at least one 13-gram, one to edit 50 characters.
    """
    draw = random.Random(seed)
    pools = {
        "exact": [text for text in test_texts if len(match_key(text)) >= RULES.min_chars],
        "embedded": [text for text in test_texts if len(match_key(text)) >= RULES.contained.ngram],
        "edited": [text for text in test_texts if len(text) >= RULES.near.min_chars],
    }
    planted = []
    for number in range(count):
        way = WAYS[number % len(WAYS)]
        text = draw.choice(pools[way])
        planted.append(Planted(way, _MAKE[way](text, passages, draw), text))
    return planted


def _disguise(text: str, passages: Sequence[str], draw: random.Random) -> str:
    marks = ["\u3000", "\n", "、", "・", "\u200b", ""]
    changed = "".join(char + (draw.choice(marks) if draw.random() < 0.2 else "") for char in text)
    return "「" + changed.swapcase().translate(_WIDE if draw.random() < 0.5 else {}) + "」"


def _embed(text: str, passages: Sequence[str], draw: random.Random) -> str:
    around = draw.choice(passages)
    place = draw.randrange(len(around))
    return around[:place] + text + around[place:]


def _edit(text: str, passages: Sequence[str], draw: random.Random) -> str:
    chars = list(text)
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(chars))
        new = draw.choice(draw.choice(passages))
        chars[place : place + 1] = draw.choice([[new], [], [chars[place], new]])
    return "".join(chars)


_MAKE = {"exact": _disguise, "embedded": _embed, "edited": _edit}


def search(planted: Sequence[Planted], pairs: Sequence[tuple[str, str]], rows: Sequence[dict]) -> Found:
    """Look for the planted texts, as positives of pairs of their own, and for leaks among the unplanted `pairs`.

    `rows` are rows of TEST_TEXTS. A planted text is found where a pair is named for a test that holds its test text.
    """
    tests = BenchmarkTexts(lambda: rows, RULES)
    anchor = "この文はどの試験にもない。"
    texts = {f"planted {number}": leak.text for number, leak in enumerate(planted)}
    texts |= {text: text for pair in pairs for text in pair} | {anchor: anchor}
    named = [(f"planted {number}", anchor, f"planted {number}") for number in range(len(planted))]
    named += [(f"unplanted {number}", *pair) for number, pair in enumerate(pairs)]
    leaks = list(
        find_leaks(
            ({"pair_id": i, "anchor": a, "positive": p, "given_negatives": []} for i, a, p in named),
            find_matches(texts.items, tests, RULES.min_chars),
        )
    )
    holders: dict[str, set[str]] = {}
    for row in rows:
        holders.setdefault(row["text"], set()).add(row["test"])
    seen = {(leak["pair_id"], leak["test"]) for leak in leaks}
    missed = [
        leak
        for number, leak in enumerate(planted)
        if not any((f"planted {number}", test) in seen for test in holders[leak.test_text])
    ]
    removed = {leak["pair_id"] for leak in leaks if leak["removed"]}
    return Found(
        {way: 1 - len([leak for leak in missed if leak.way == way]) / max(1, _count(planted, way)) for way in WAYS},
        missed,
        [pair for number, pair in enumerate(pairs) if f"unplanted {number}" in removed],
    )


def _count(planted: Sequence[Planted], way: str) -> int:
    return sum(leak.way == way for leak in planted)
