"""What goes to an engine: documents in batches, and how they are laid out there."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ruri_kedro.errors import RecipeError

Analyser = Literal["kuromoji", "sudachi"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_DIGITS = 6  # of a component in JSON and SQL


@dataclass(frozen=True)
class Batch:
    """Documents that are sent together: docids, their texts (None: not known), vectors of length 1.

    vectors: float32 (n, d), or for a multi-vector model n arrays (tokens, d).
    """

    docids: list[str]
    texts: list[str] | None
    vectors: np.ndarray | list[np.ndarray]

    def rows(self) -> Iterator[tuple[str, str | None, list]]:
        """(docid, text, vector or vectors as rounded numbers) of each document."""
        texts: Sequence[str | None] = self.texts or [None] * len(self.docids)
        for docid, text, vector in zip(self.docids, texts, self.vectors, strict=True):
            yield docid, text, numbers(vector)


@dataclass(frozen=True)
class Layout:
    """How documents stand in an engine. `name` is that of the collection, index or table."""

    name: str
    dimension: int
    multi_vectors: bool
    texts: bool
    analyser: Analyser

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise RecipeError(
                f"name '{self.name}': small letters, digits and _, a letter first, 48 at most. All engines take those."
            )

    @property
    def vector_field(self) -> str:
        """Name of the field of a document's vector or vectors."""
        return "vectors" if self.multi_vectors else "vector"

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


def numbers(vector: np.ndarray) -> list:
    """The components of (d,) or (tokens, d) as floats with the digits that are written."""
    return np.round(np.asarray(vector, dtype=np.float64), _DIGITS).tolist()


def split(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same documents, `size` in a batch at most."""
    for batch in batches:
        for start in range(0, len(batch.docids), size):
            rows = slice(start, start + size)
            yield Batch(batch.docids[rows], batch.texts and batch.texts[rows], batch.vectors[rows])


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """JSON values, one a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a file of JSON values; a line ends at a line feed and nowhere else."""
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from (line.rstrip("\n") for line in file)
