"""Two models in random order, names hidden: which does a reader prefer? Wins are counted, and tested for chance."""

import secrets
from collections import Counter, OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

from ruri_kedro.service.judgments import Log
from ruri_kedro.service.refusals import Refusal

_OPEN = 10_000  # comparisons that wait for a vote
LEFT, RIGHT, TIE = "left", "right", "tie"


class BlindVotes:
    """Votes between two models, in a log."""

    def __init__(self, path: Path) -> None:
        self._log = Log(path)
        self._lock = Lock()
        self._open: OrderedDict[str, tuple[str, tuple[str, str]]] = OrderedDict()

    def begin(self, query: str, models: tuple[str, str]) -> tuple[str, tuple[str, str]]:
        """An id for a comparison, and the models from left to right, in random order."""
        order = models if secrets.randbits(1) else (models[1], models[0])
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._open[key] = (query, order)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return key, order

    def vote(self, key: str, choice: str) -> dict[str, Any]:
        """Keep a vote, once; which model stood where, and the count. Raises Refusal (404) for a comparison unknown."""
        with self._lock:
            query, order = self._open.pop(key, (None, None))
            if query is None:
                raise Refusal(404, "this comparison is not open. It was voted on, or the service was started anew.")
            winner = {LEFT: order[0], RIGHT: order[1], TIE: None}[choice]
            with self._log.alone():
                self._log.add({"query": query, "left": order[0], "right": order[1], "winner": winner})
        return {"left": order[0], "right": order[1], **self.count(tuple(sorted(order)))}

    def count(self, models: tuple[str, str]) -> dict[str, Any]:
        """Wins of each of two models, ties, and the p-value of the sign test, two-sided; ties take no part in it."""
        from scipy.stats import binomtest

        rows = [row for row in self._log.rows() if {row["left"], row["right"]} == set(models)]
        won = Counter(row["winner"] for row in rows)
        wins = {model: won[model] for model in models}
        decided = sum(wins.values())
        p = binomtest(wins[models[0]], decided, 0.5).pvalue if decided else 1.0
        return {"wins": wins, "ties": won[None], "p": float(p)}
