"""From what a model wrote to the fields of a row, or the reason why it is not a row."""

import re
from collections.abc import Sequence

from ruri_kedro.corpora.synthesis.chat import Answer
from ruri_kedro.tables.formats import parse_json
from ruri_kedro.text.normalize import normalize

_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n\s*```\Z", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"\A<think>.*?</think>", re.DOTALL)  # before the answer, where a server does not take it off
# Kanji alone may be Chinese; a Japanese sentence has kana.
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")


class Rejected(Exception):
    """An answer that gives no row. `reason` is a word to count by, `detail` what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def parse_object(answer: Answer) -> dict:
    """The JSON object that the answer is, as a whole or in one code fence. Raises Rejected."""
    if answer.finish == "length":
        raise Rejected("truncated", f"cut after {answer.completion_tokens} tokens")
    if answer.finish == "content_filter":
        raise Rejected("filtered", "by the server")
    text = _THOUGHT.sub("", answer.text.strip()).strip()
    if not text:
        raise Rejected("empty")
    if fenced := _FENCE.match(text):
        text = fenced.group(1)
    try:
        found = parse_json(text)
    except ValueError as error:
        raise Rejected("not_json", str(error)) from error
    if not isinstance(found, dict):
        raise Rejected("not_an_object", f"a {type(found).__name__}")
    return found


def parse_fields(answer: Answer, fields: Sequence[str]) -> dict[str, str]:
    """The named fields of the answer's JSON object, normalised. Raises Rejected.

    They must be texts, not blank, and stand in the given order: what is written first is not written to fit the other.
    """
    found = parse_object(answer)
    given = [name for name in found if name in fields]
    if missing := [name for name in fields if name not in found]:
        raise Rejected("missing_field", ", ".join(missing))
    if given != list(fields):
        raise Rejected("wrong_order", ", ".join(given))
    for name in fields:
        if not isinstance(found[name], str):
            raise Rejected("not_text", f"{name} is a {type(found[name]).__name__}")
    texts = {name: normalize(found[name]) for name in fields}
    for name, text in texts.items():
        if not text:
            raise Rejected("blank_field", name)
    return texts


def parse_score(answer: Answer, lowest: float, highest: float) -> float:
    """The number under `score` in the answer's JSON object. Raises Rejected."""
    score = parse_object(answer).get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not lowest <= score <= highest:
        raise Rejected("no_score", f"{score!r} is not a number from {lowest:g} to {highest:g}")
    return float(score)


def require_japanese(name: str, text: str) -> None:
    """Raise Rejected for a sentence without kana."""
    if not _KANA.search(text):
        raise Rejected("not_japanese", name)
