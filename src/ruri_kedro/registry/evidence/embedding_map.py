"""A map of a model's vectors: the first two principal components of a sample of passages, coloured by source."""

import json
from collections.abc import Sequence
from heapq import nsmallest
from itertools import cycle
from typing import Any

import numpy as np

from ruri_kedro.errors import DataError
from ruri_kedro.tables import Table
from ruri_kedro.tables.lookup import iter_texts
from ruri_kedro.text.hashing import stable_id
from ruri_kedro.text.pages import render_page

_SHOWN = 300  # characters of a text
_LEAST = 3  # passages: fewer lie on a line


def sample(passages: Table, count: int, seed: int) -> list[tuple[str, str]]:
    """(source, text) of `count` passages, as evenly of the sources as they have some; the seed draws them.

    Raises DataError where there are fewer than three.
    """
    drawn = {
        source: nsmallest(count, iter_texts(passages, [source]), key=lambda row: stable_id(str(seed), row[0]))
        for source in passages.parts()
    }
    if sum(map(len, drawn.values())) < _LEAST:
        raise DataError(
            f"{passages.root}: there are fewer than {_LEAST} passages. Run: kedro run --pipelines data_engineering"
        )
    rows: list[tuple[str, str]] = []
    turns = {source: iter(texts) for source, texts in drawn.items() if texts}
    for source in cycle(list(turns)):
        row = next(turns.get(source, iter(())), None)
        if row is None:
            turns.pop(source, None)
        else:
            rows.append((source, row[1]))
        if not turns or len(rows) == count:
            return sorted(rows, key=lambda row: row[0])


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (n, d) by their first two principal components, (n, 2), and the shares of the variance of these, (2,).

    Of a component and its negative the one is taken whose largest entry is positive.
    """
    centred = vectors - vectors.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    first = directions[:2] * np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])[:, None]
    return centred @ first.T, lengths[:2] ** 2 / max(np.square(lengths).sum(), np.finfo(float).tiny)


def map_page(model: str, rows: Sequence[tuple[str, str]], vectors: np.ndarray) -> str:
    """The map of (source, text) rows as one HTML page, which shows the text of the point under the mouse."""
    points, shares = principal_components(vectors)
    sources = sorted({source for source, _ in rows})
    data: dict[str, Any] = {
        "sources": sources,
        "points": [
            [round(float(x), 4), round(float(y), 4), sources.index(source), text[:_SHOWN]]
            for (x, y), (source, text) in zip(points, rows, strict=True)
        ],
    }
    told = " and ".join(f"{100 * share:.0f}%" for share in shares)
    return render_page(
        "ruri_kedro.registry.evidence",
        "embedding_map.html",
        model=model,
        count=len(rows),
        shares=told,
        data=json.dumps(data, ensure_ascii=False),
    )
