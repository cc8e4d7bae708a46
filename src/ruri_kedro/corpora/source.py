"""What a source is: a row of a recipe's parameters, checked before any file is opened."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any

from ruri_kedro.corpora.hub import Hub
from ruri_kedro.corpora.kinds import KINDS, MEANINGS, NULLABLE_FIELDS
from ruri_kedro.corpora.shapes import SHAPES
from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.tables.objectives import ROW_KEYS
from ruri_kedro.tables.raw import label_text
from ruri_kedro.text.filters import LANGUAGES, TextFilter
from ruri_kedro.text.names import check_names, listed_names


@dataclass(frozen=True)
class SelectedHub(Hub):
    """A hub's data set with what a source asks of it and not of its other data sets; it is the same one without."""

    path: str | None = field(default=None, compare=False)  # in place of the source's
    where: Mapping[str, Any] = field(default_factory=dict, compare=False)  # beside the source's
    exclude: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Input:
    """One of the places a source is read from: paths below the raw folder or in a hub's data set, or its splits."""

    paths: tuple[str, ...]
    hub: Hub | None
    split: str | None
    is_validation: bool
    where: Mapping[str, Any]  # as in Source, with what holds for this place alone
    exclude: Mapping[str, str]

    @property
    def name(self) -> str:
        """What its form is known by: the path, or of a hub's splits their name."""
        return self.paths[0] if self.paths else self.split

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.hub, *(self.paths or (self.split,))) if part)


ORIGINS = ("given", "synthetic")
_Types = Mapping[str, type | tuple[type, ...]]

# Of the values of a source's row and of its filter.
_TYPES: _Types = {
    "kind": str, "path": (str, list, NoneType), "hub": (Mapping, list, NoneType), "shape": str, "header": list,
    "unfold": list, "fields": Mapping, "where": Mapping, "exclude": Mapping, "drop_lowest": Mapping, "segmented": bool,
    "paragraphs": int, "filter": (Mapping, NoneType), "labels": Mapping, "validation": (str, NoneType),
    "held_out": (float, int), "collection": (str, NoneType), "stages": Mapping, "licence": str,
    "root": (str, NoneType), "origin": str,
}  # fmt: skip
_FILTER_TYPES: _Types = {
    "language": (str, NoneType), "min_share": (float, int), "min_chars": int, "max_chars": (int, NoneType),
    "boilerplate": bool,
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One source of a recipe."""

    name: str
    kind: str  # how its rows become pairs
    path: str | Sequence[str] | None = None  # files, folders or patterns below the raw folder, or in the hub's data set
    hub: tuple[SelectedHub, ...] = ()  # data sets on the hub of one form, mostly one; without a path read by splits
    shape: str = "rows"  # how its files hold rows
    header: Sequence[str] = ()  # the columns of CSV or TSV files that do not name them
    unfold: Sequence[str] = ()  # lists of which each element becomes a row, the outer one first
    fields: Mapping[str, Any] = field(default_factory=dict)  # the kind's field name: the path to it in a row
    where: Mapping[str, Any] = field(default_factory=dict)  # only rows with these values, or one of a list of values
    exclude: Mapping[str, str] = field(default_factory=dict)  # no rows in which the field has a match of the pattern
    drop_lowest: Mapping[str, float] = field(default_factory=dict)  # no rows of the lowest share by a number
    segmented: bool = False  # the texts were cut into words with spaces, which are put together
    paragraphs: int = 1  # consecutive rows of a section that make one text
    filter: TextFilter | None = None  # which positives are kept
    labels: Mapping[str, str] = field(default_factory=dict)  # the file's label: one of MEANINGS
    validation: str | None = None  # a file (or, of a hub's data set, a split) of validation rows, or
    held_out: float = 0.0  # the share of titles (or questions, texts) held out for validation
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

    @property
    def data_sets(self) -> set[str]:
        """The hub's data sets or, of local files, the place that the rows come from."""
        return {hub.id for hub in self.hub} or {str(Path(self.root or "", path)) for path in self.paths}

    @property
    def paths(self) -> tuple[str, ...]:
        """Its path, or each of several."""
        return _listed(self.path)

    @property
    def inputs(self) -> list[Input]:
        """What is read, the validation rows last. `validation` is a path, or without a path a split."""
        found = []
        for hub in self.hub or (None,):
            paths = _listed(hub.path if hub and hub.path else self.path)
            where, exclude = (dict(self.where), dict(self.exclude)) if hub is None else (
                {**self.where, **hub.where}, {**self.exclude, **hub.exclude}
            )  # fmt: skip
            split = hub.split if hub and not paths else None
            found.append(Input(paths, hub, split, False, where, exclude))
            if self.validation:
                place = ((), hub, self.validation) if split else ((self.validation,), hub, None)
                found.append(Input(*place, True, where, exclude))
        return sorted(found, key=lambda place: place.is_validation)


def parse_sources(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Source]:
    """The sources of a recipe. Raises RecipeError that names the source, the key and what is allowed."""
    check_names("sources", rows)
    sources = {name: _parse(name, row) for name, row in rows.items()}
    for source in sources.values():
        if source.candidates not in sources:
            raise RecipeError(
                f"sources.{source.name}.collection: '{source.candidates}' is no source. "
                f"The recipe has: {', '.join(rows)}."
            )
    return sources


def select_sources(sources: Mapping[str, Source], only: Any) -> dict[str, Source]:
    """The sources that `only` names, with spaces or commas between them; all if it names none. Raises RecipeError."""
    names = listed_names("only", only)
    _allowed("only", names, sources)
    return {name: source for name, source in sources.items() if not names or name in names}


def _parse(name: str, row: Mapping[str, Any]) -> Source:
    place = f"sources.{name}"
    _allowed(place, row, _TYPES)
    _check_types(place, row, _TYPES)
    if isinstance(row.get("path"), list):
        for path in row["path"]:
            _check_types(place, {"path": path}, {"path": str})
    if "kind" not in row:
        raise RecipeError(f"{place}.kind: missing.")
    if not row.get("path") and not row.get("hub"):
        raise RecipeError(f"{place}.path: missing, and there is no hub either. One of them says where the rows are.")
    _allowed(f"{place}.kind", [row["kind"]], KINDS)
    _allowed(f"{place}.shape", [row.get("shape", "rows")], SHAPES)
    if row.get("shape", "rows") != "rows" and not row.get("path"):
        raise RecipeError(f"{place}.shape: {row['shape']} is a shape of files. Give the path of those in the data set.")
    _allowed(f"{place}.origin", [row.get("origin", "given")], ORIGINS)
    _check_stages(f"{place}.stages", row.get("stages", {}))
    _check_fields(place, row)
    if not 0 <= row.get("held_out", 0) < 1:
        raise RecipeError(f"{place}.held_out: {row['held_out']} is no share between 0 and 1.")
    # YAML reads the labels 0, 1, 2 as numbers, and true as a truth value.
    labels = {label_text(label): meaning for label, meaning in row.get("labels", {}).items()}
    for label, meaning in labels.items():
        _allowed(f"{place}.labels.{label}", [meaning], MEANINGS)
    made = {"labels": labels, "hub": _hubs(f"{place}.hub", row), "filter": _filter(f"{place}.filter", row)}
    return Source(name=name, **{**row, **made})


def _hubs(place: str, row: Mapping[str, Any]) -> tuple[Hub, ...]:
    rows = row.get("hub") or ()
    rows = [rows] if isinstance(rows, Mapping) else rows
    for hub in rows:
        _allowed(place, hub, {f.name for f in fields(SelectedHub)})
        if not hub.get("id"):
            raise RecipeError(f"{place}.id: missing.")
        own = {key: value for key, value in hub.items() if key in ("path", "where", "exclude")}
        _check_types(place, own, _TYPES | {"path": str})
        _check_patterns(place, own.get("exclude", {}))
    return tuple(SelectedHub(**hub) for hub in rows)


def _filter(place: str, row: Mapping[str, Any]) -> TextFilter | None:
    rules = row.get("filter")
    if not rules:
        return None
    _allowed(place, rules, _FILTER_TYPES)
    _check_types(place, rules, _FILTER_TYPES)
    if rules.get("language") is not None:
        _allowed(f"{place}.language", [rules["language"]], LANGUAGES)
    return TextFilter(**rules)


def _check_stages(place: str, stages: Mapping[str, Any]) -> None:
    _allowed(place, stages, STAGES)
    for stage, rows in stages.items():
        _check_types(place, {stage: rows}, {stage: (Mapping, list)})
        for row in [rows] if isinstance(rows, Mapping) else rows:
            _check_types(place, {stage: row}, {stage: Mapping})
            _allowed(f"{place}.{stage}", row, ROW_KEYS)
            _check_types(f"{place}.{stage}", row, ROW_KEYS)
            if "window" in row and sorted(row["window"]) != ["first", "last"]:
                raise RecipeError(f"{place}.{stage}.window: {row['window']} given, {{first: 30, last: 100}} expected.")
            if "objective" in row:
                _allowed(f"{place}.{stage}.objective", [row["objective"]], STAGES[stage].objectives)
            _allowed(f"{place}.{stage}.negatives", [row.get("negatives")], STAGES[stage].strategies)


def _check_fields(place: str, row: Mapping[str, Any]) -> None:
    kind = KINDS[row["kind"]]
    mapped = row.get("fields", {})
    _allowed(f"{place}.fields", mapped, kind.fields)
    for name, path in mapped.items():
        if path is None and name not in NULLABLE_FIELDS:
            raise RecipeError(f"{place}.fields.{name}: null, but the kind {row['kind']} needs it.")
    if row.get("paragraphs", 1) < 1:
        raise RecipeError(f"{place}.paragraphs: {row['paragraphs']} given, 1 or more expected.")
    if row.get("paragraphs", 1) != 1 and "section" not in kind.fields:
        raise RecipeError(f"{place}.paragraphs: the kind {row['kind']} has no sections to join paragraphs of.")
    for path in row.get("unfold", ()):
        if not isinstance(path, str) or "[]" in path:
            raise RecipeError(f"{place}.unfold: '{path}'; the path to a list is expected, without [].")
    header = row.get("header", [])
    if not all(isinstance(name, str) and name for name in header) or len(set(header)) < len(header):
        raise RecipeError(f"{place}.header: {header}; names of columns are expected, each once.")
    _check_patterns(place, row.get("exclude", {}))
    for name, share in row.get("drop_lowest", {}).items():
        if not 0 <= share < 1:
            raise RecipeError(f"{place}.drop_lowest.{name}: {share} is no share between 0 and 1.")


def _check_patterns(place: str, patterns: Mapping[str, str]) -> None:
    for name, pattern in patterns.items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise RecipeError(f"{place}.exclude.{name}: '{pattern}' is no regular expression ({error}).") from error


def _listed(path: str | Sequence[str] | None) -> tuple[str, ...]:
    """A path, or several, as a tuple; none of nothing."""
    return ((path,) if isinstance(path, str) else tuple(path)) if path else ()


def _check_types(place: str, row: Mapping[str, Any], types: _Types) -> None:
    for key, value in row.items():
        kinds = types[key] if isinstance(types[key], tuple) else (types[key],)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
            raise RecipeError(f"{place}.{key}: {type(value).__name__} given ({value}), {names} expected.")


def _allowed(place: str, given: Iterable[Any], known: Iterable[Any]) -> None:
    known = list(known)
    for value in given:
        if value not in known:
            raise RecipeError(f"{place}: '{value}' is unknown. Allowed: {', '.join(sorted(known))}.")
