"""A search for near duplicates that stops in the middle of a write: in a module of its own, since a process imports it
by name."""

import errno
import os
import random
import signal
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from ruri_kedro.corpora.duplicates import DuplicateRules, _Store, find_duplicates
from ruri_kedro.recipe.parse import parse
from ruri_kedro.text.hashing import stable_id

RULES = {"threshold": 0.5, "min_chars": 4, "ngram": 2, "bands": 5, "rows": 2, "across": True, "memory_mb": 1}
FAMILY = {"a": 0, "b": 1, "c": 2}


def corpus() -> dict[str, list[list[tuple[str, str]]]]:
    """(docid, text) of three sources in shards; every third text is an earlier one of any source with an edit."""
    draw = random.Random(0)
    made: list[str] = []
    for number in range(180):
        if number % 3 == 2:
            text = draw.choice(made)
            place = draw.randrange(len(text))
            made.append(text[:place] + chr(0x3400 + number) + text[place + 1 :])
        else:
            made.append("".join(chr(draw.randrange(0x4E00, 0x5E00)) for _ in range(draw.randrange(8, 40))))
    named = [(stable_id(str(number)), text) for number, text in enumerate(made)]
    return {"a": [named[:40], named[40:70]], "b": [named[70:140]], "c": [named[140:150], [], named[150:]]}


def search(scratch: Path, key: str = "k", **change) -> list[dict]:
    """The rows that a search of the corpus finds, begun or continued."""
    rules = parse(DuplicateRules, {**RULES, **change, "scratch": str(scratch)}, "deduplication")
    shards = {source: map(iter, given) for source, given in corpus().items()}
    return list(find_duplicates(shards, FAMILY, rules, key))


def full_disk() -> None:
    """What a write to a full disk raises."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def stopped(write: int, stop: Callable[[], None]):
    """`stop` is called in the write of this number, from 0, when half of it is done."""
    append, left = _Store._append, [write]

    def half(store: _Store, name: str, data) -> None:
        if left[0] == 0:
            data = memoryview(data).cast("B") if len(data) else data
            append(store, name, bytes(data[: len(data) // 2]))
            stop()
        left[0] -= 1
        append(store, name, data)

    _Store._append = half
    try:
        yield
    finally:
        _Store._append = append


def killed(scratch: Path, write: int) -> None:
    """A search that gets kill -9."""
    with stopped(write, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        search(scratch)
