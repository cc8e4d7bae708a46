"""What a source is: a row of a recipe's parameters, checked before any file is opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ruri_kedro.corpora.kinds import KINDS
from ruri_kedro.corpora.shapes import SHAPES
from ruri_kedro.errors import RecipeError
from ruri_kedro.tables.objectives import OBJECTIVES

ORIGINS = ("given", "synthetic")


@dataclass(frozen=True)
class Source:
    """One source of a recipe."""

    name: str
    path: str  # below the raw folder
    kind: str  # how its rows become pairs
    shape: str = "rows"  # how its files hold rows
    fields: Mapping[str, Any] = field(default_factory=dict)  # the kind's field name: the file's field name
    where: Mapping[str, Any] = field(default_factory=dict)  # only rows with these values
    labels: Mapping[str, str] = field(default_factory=dict)  # the file's label: entailment or contradiction
    validation: str | None = None  # a file of validation rows, or
    held_out: float = 0.0  # the share of titles held out for validation
    collection: str | None = None  # the source whose passages are candidates for its queries; itself if not named
    stages: Mapping[str, Any] = field(default_factory=dict)  # stage: its negatives and objective there, or several
    licence: str = "unknown"
    root: str | None = None  # the folder that `path` is below, where it is not the raw folder
    origin: str = "given"  # or synthetic: written by a language model

    @property
    def candidates(self) -> str:
        """The source whose passages are searched for this one's queries."""
        return self.collection or self.name

    def rows_of(self, stage: str) -> list[Mapping[str, Any]]:
        """How the source takes part in a stage: a row for each objective, none where it takes no part."""
        rows = self.stages.get(stage, [])
        return [rows] if isinstance(rows, Mapping) else list(rows)

    def folder(self, raw: Path) -> Path:
        """The folder that its paths are below."""
        return Path(self.root) if self.root else raw


def parse_sources(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Source]:
    """The sources of a recipe. Raises RecipeError that names the source, the key and what is allowed."""
    sources = {name: _parse(name, row) for name, row in rows.items()}
    for source in sources.values():
        if source.candidates not in sources:
            raise RecipeError(
                f"sources.{source.name}.collection: '{source.candidates}' is no source. "
                f"The recipe has: {', '.join(rows)}."
            )
    return sources


def _parse(name: str, row: Mapping[str, Any]) -> Source:
    known = {f.name for f in fields(Source)} - {"name"}
    _allowed(f"sources.{name}", row, known)
    for key in ("path", "kind"):
        if key not in row:
            raise RecipeError(f"sources.{name}.{key}: missing.")
    _allowed(f"sources.{name}.kind", [row["kind"]], KINDS)
    _allowed(f"sources.{name}.shape", [row.get("shape", "rows")], SHAPES)
    _allowed(f"sources.{name}.origin", [row.get("origin", "given")], ORIGINS)
    _allowed(f"sources.{name}.stages", row.get("stages", {}), OBJECTIVES)
    for stage, parts in row.get("stages", {}).items():
        for part in [parts] if isinstance(parts, Mapping) else parts:
            if "objective" in part:
                _allowed(f"sources.{name}.stages.{stage}.objective", [part["objective"]], OBJECTIVES[stage])
    _allowed(f"sources.{name}.fields", row.get("fields", {}), KINDS[row["kind"]].fields)
    if not 0 <= row.get("held_out", 0) < 1:
        raise RecipeError(f"sources.{name}.held_out: {row['held_out']} is no share between 0 and 1.")
    return Source(name=name, **row)


def _allowed(place: str, given: Any, known: Any) -> None:
    for value in given:
        if value not in known:
            raise RecipeError(f"{place}: '{value}' is unknown. Allowed: {', '.join(sorted(known))}.")
