"""Excerpts on their way to rows, and what is written of them in the end."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruri_kedro.corpora.kinds import Text
from ruri_kedro.corpora.synthesis.answers import Rejected
from ruri_kedro.corpora.synthesis.chat import Answer
from ruri_kedro.corpora.synthesis.tasks import Task
from ruri_kedro.tables.raw import write_rows

ROWS = "rows.jsonl.gz"
REJECTS = "rejects.jsonl.gz"
UNANSWERED = "unanswered"


@dataclass
class Item:
    """An excerpt, its fields once an answer was taken, its score, or the reason why it gives no row."""

    excerpt: Text
    ident: str
    raw: str = ""
    fields: Mapping[str, str] | None = None
    score: float | None = None
    reason: str = ""
    detail: str = ""

    def take(self, answer: Answer | str, read: Callable[[Answer], None]) -> None:
        """Let `read` have the answer; where there is none, or it is rejected, note why."""
        if isinstance(answer, str):
            self.reason, self.detail = UNANSWERED, answer
            return
        try:
            read(answer)
        except Rejected as error:
            self.reason, self.detail = error.reason, error.detail

    def values(self) -> dict[str, str]:
        """What a prompt may be filled with."""
        excerpt = {"title": self.excerpt.title, "section": self.excerpt.section, "text": self.excerpt.text}
        return {**excerpt, **(self.fields or {})}

    def rows(self, task: Task) -> list[dict]:
        """The rows it gives, with its id and score."""
        own = {"id": self.ident} if self.score is None else {"id": self.ident, "score": self.score}
        return [{**row, **own} for row in task.rows(self.excerpt, self.fields)]

    def rejected(self) -> dict[str, Any]:
        """What is kept of an item that gives no row."""
        own = {"id": self.ident, "reason": self.reason, "detail": self.detail, "answer": self.raw}
        scored = {} if self.score is None else {"score": self.score}
        return {**own, **scored, **{name: self.values()[name] for name in ("title", "section", "text")}}


def left(items: Sequence[Item]) -> list[Item]:
    """The items that are not rejected."""
    return [item for item in items if not item.reason]


def drop_lowest(items: Sequence[Item], share: float) -> None:
    """Take out the `share` with the lowest scores, rounded down; among equal scores the ids decide."""
    order = sorted(left(items), key=lambda item: (item.score, item.ident))
    for item in order[: math.floor(share * len(order) + 1e-9)]:
        item.reason, item.detail = "low_score", f"among the lowest {share:.0%}"


def write_items(items: Sequence[Item], task: Task, folder: Path) -> dict[str, Any]:
    """Write rows and rejects in the order of the items; how many there are, rejects by reason."""
    rows = [row for item in left(items) for row in item.rows(task)]
    write_rows(folder / ROWS, rows)
    write_rows(folder / REJECTS, (item.rejected() for item in items if item.reason))
    reasons = Counter(item.reason for item in items if item.reason)
    return {"excerpts": len(items), "rows": len(rows), "rejects": dict(sorted(reasons.items()))}
