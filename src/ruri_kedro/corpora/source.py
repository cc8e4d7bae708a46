"""What a source is: a row of a recipe's parameters, checked before any file is opened."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ruri_kedro.corpora.hub import Hub
from ruri_kedro.corpora.kinds import KINDS, MEANINGS, NULLABLE_FIELDS
from ruri_kedro.corpora.shape_names import Shape
from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.objectives import LABELLED, READING
from ruri_kedro.recipe.parse import Count, ShareBelow, parameters, parse, unknown
from ruri_kedro.recipe.stage_rows import StageRow
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.tables.raw import label_text
from ruri_kedro.text.filters import TextFilter
from ruri_kedro.text.names import check_names, listed_names
from ruri_kedro.text.prompts import Prompts


@parameters
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


@parameters
class SourceRow:
    """The keys of a source. Its names are the user's own, so the defaults stand here and not in conf/base."""

    kind: Literal[tuple(KINDS)]  # how its rows become pairs
    path: str | tuple[str, ...] | None = None  # files, folders or patterns below the raw folder, or on the hub
    hub: SelectedHub | tuple[SelectedHub, ...] | None = None  # of one form; without a path read by splits
    shape: Shape = "rows"  # how its files hold rows
    header: tuple[str, ...] = ()  # the columns of CSV or TSV files that do not name them
    unfold: tuple[str, ...] = ()  # lists of which each element becomes a row, the outer one first
    fields: Mapping[str, Any] = field(default_factory=dict)  # the kind's field name: the path to it in a row
    where: Mapping[str, Any] = field(default_factory=dict)  # only rows with these values, or one of a list of values
    exclude: Mapping[str, str] = field(default_factory=dict)  # no rows in which the field has a match of the pattern
    drop_lowest: Mapping[str, ShareBelow] = field(default_factory=dict)  # no rows of the lowest share by a number
    segmented: bool = False  # the texts were cut into words with spaces, which are put together
    paragraphs: Count = 1  # consecutive rows of a section that make one text
    chunk_chars: Count | None = None  # the most of a passage: of a longer one the sentences around the answer are kept
    filter: TextFilter | None = None  # which positives are kept
    max_rows: Count | None = (
        None  # of each place that it is read from, validation aside; the first that the rules leave
    )
    labels: Mapping[str, Literal[tuple(MEANINGS)]] = field(default_factory=dict)  # the file's label: what it means
    validation: str | None = None  # a file (or, of a hub's data set, a split) of validation rows, or
    held_out: ShareBelow = 0.0  # the share of titles (or questions, texts) held out for validation
    collection: str | None = None  # the source whose passages are candidates for its queries; itself if not named
    prompts: Prompts | None = None  # before its texts, in training, validation and mining; None: those of the recipe
    stages: Mapping[str, StageRow | tuple[StageRow, ...]] = field(default_factory=dict)
    licence: str = "unknown"
    root: str | None = None  # the folder that `path` is below, where it is not the raw folder
    origin: Literal["given", "synthetic"] = "given"  # synthetic: written by a language model

    def __post_init__(self) -> None:
        if faults := [*_places(self), *_fields(self), *_texts(self), *_stages(self)]:
            raise RecipeError("\n".join(faults))


@dataclass(frozen=True, kw_only=True)
class Source(SourceRow):
    """One source of a recipe: its row, which was checked."""

    name: str
    hub: tuple[SelectedHub, ...] = ()  # data sets on the hub of one form, mostly one

    def __post_init__(self) -> None:
        """All was checked when the row was parsed."""

    @property
    def candidates(self) -> str:
        """The source whose passages are searched for this one's queries."""
        return self.collection or self.name

    def rows_of(self, stage: str) -> list[Mapping[str, Any]]:
        """How the source takes part in a stage: a row for each objective, none where it takes no part."""
        rows = self.stages.get(stage, [])
        return [rows] if isinstance(rows, Mapping) else list(rows)

    @property
    def is_labelled(self) -> bool:
        """Whether its pairs have labels."""
        return KINDS[self.kind].is_labelled

    def prompts_or(self, recipe: Mapping[str, str]) -> Mapping[str, str]:
        """Its own prompts by role (query, document); those of the recipe where it has none."""
        return vars(self.prompts) if self.prompts else recipe

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
    """The sources of a recipe. Raises RecipeError with a line for each fault: the source, the key, what is allowed."""
    check_names("sources", rows)
    sources, faults = {}, []
    for name, row in rows.items():
        try:
            sources[name] = parse_source(name, row, f"sources.{name}")
        except RecipeError as error:
            faults.append(str(error))
    for source in sources.values():
        if source.candidates not in rows:
            faults.append(
                f"sources.{source.name}.collection: '{source.candidates}' is not a source. "
                f"The recipe has: {', '.join(rows)}."
            )
    if faults:
        raise RecipeError("\n".join(faults))
    return sources


def own_prompts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, str]]:
    """The prompts by role of each source of a recipe that has its own."""
    return {name: vars(source.prompts) for name, source in parse_sources(rows).items() if source.prompts}


def select_sources(sources: Mapping[str, Source], only: Any) -> dict[str, Source]:
    """The sources that `only` names, with spaces or commas between them; all if it names none. Raises RecipeError."""
    names = listed_names("only", only)
    for name in names:
        if name not in sources:
            raise RecipeError(f"only: '{name}' is unknown. Allowed: {', '.join(sorted(sources))}.")
    return {name: source for name, source in sources.items() if not names or name in names}


def parse_source(name: str, row: Any, place: str) -> Source:
    """The source of a row of parameters, which stands at `place`. Raises RecipeError with a line for each fault."""
    given = dict(row) if isinstance(row, Mapping) else row
    if isinstance(row, Mapping) and isinstance(row.get("labels"), Mapping):
        # YAML reads the labels 0, 1, 2 as numbers, and true as a truth value.
        given["labels"] = {label_text(label): meaning for label, meaning in row["labels"].items()}
    parsed = parse(SourceRow, given, place)
    hub = (parsed.hub,) if isinstance(parsed.hub, SelectedHub) else parsed.hub or ()
    parts = {"hub": hub, "filter": parsed.filter if row.get("filter") else None, "prompts": parsed.prompts}
    return Source(name=name, **{**given, **parts})


def _places(row: SourceRow) -> Iterator[str]:
    """What is wrong with where the rows are."""
    if not row.path and not row.hub:
        yield "path: missing, and there is no hub either. One of them says where the rows are."
    if row.shape != "rows" and not row.path:
        yield f"shape: {row.shape} is a shape of files. Give the path of those in the data set."
    for place, hub in [("hub", row.hub)] if isinstance(row.hub, SelectedHub) else _numbered("hub", row.hub or ()):
        yield from _patterns(f"{place}.exclude", hub.exclude)


def _fields(row: SourceRow) -> Iterator[str]:
    """What is wrong with the names of its fields."""
    kind = KINDS[row.kind]
    for name, path in row.fields.items():
        if name not in kind.fields:
            yield f"fields.{name}: {unknown(name, kind.fields)}"
        elif path is None and name not in NULLABLE_FIELDS:
            yield f"fields.{name}: null, but the kind {row.kind} needs it."
    for path in row.unfold:
        if "[]" in path:
            yield f"unfold: '{path}'; the path to a list is expected, without []."
    if not all(row.header) or len(set(row.header)) < len(row.header):
        yield f"header: {list(row.header)}; names of columns are expected, each once."


def _texts(row: SourceRow) -> Iterator[str]:
    """What is wrong with how its texts are chosen and made."""
    if row.paragraphs != 1 and "section" not in KINDS[row.kind].fields:
        yield f"paragraphs: the kind {row.kind} has no sections to join paragraphs of."
    if row.chunk_chars is not None and not {"answers", "text"} <= KINDS[row.kind].fields.keys():
        yield f"chunk_chars: the kind {row.kind} has no answers, which say what part of a long passage is meant."
    elif row.chunk_chars is not None and row.fields.get("answers", "answers") is None:
        yield "chunk_chars: with fields.answers: null nothing says what part of a long passage a question is about."
    yield from _patterns("exclude", row.exclude)


def _stages(row: SourceRow) -> Iterator[str]:
    """What is wrong with how it takes part in the stages."""
    for stage, given in row.stages.items():
        place = f"stages.{stage}"
        if stage not in STAGES:
            yield f"{place}: {unknown(stage, STAGES)}"
            continue
        for at, part in [(place, given)] if isinstance(given, StageRow) else _numbered(place, given):
            for key, allowed in (("objective", STAGES[stage].objectives), ("negatives", STAGES[stage].strategies)):
                value = getattr(part, key)
                if value is not None and value not in allowed:
                    yield f"{at}.{key}: '{value}' is not for this stage. Allowed: {', '.join(allowed)}."
            yield from _labels(row.kind, part, stage, at)


def _labels(kind: str, part: StageRow, stage: str, at: str) -> Iterator[str]:
    """What is wrong between the labels of a source and what it is trained for."""
    objective = STAGES[stage].objective_of(vars(part))
    if objective in READING:
        return
    fitting = [name for name in STAGES[stage].objectives if (name in LABELLED) == KINDS[kind].is_labelled]
    allowed = f"Allowed: {', '.join(fitting)}." if fitting else "No objective of this stage is; leave the stage out."
    if KINDS[kind].is_labelled and objective not in LABELLED:
        yield f"{at}.objective: {objective} takes all pairs for positives, but the kind {kind} has labels. {allowed}"
    if not KINDS[kind].is_labelled and objective in LABELLED:
        yield f"{at}.objective: {objective} learns from labels, but the kind {kind} has none. {allowed}"
    if KINDS[kind].is_labelled and part.negatives != "given":
        yield f"{at}.negatives: '{part.negatives}', but labelled pairs have no negatives. Allowed: given."


def _numbered(place: str, rows: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{place}.{number}", row) for number, row in enumerate(rows))


def _patterns(place: str, patterns: Mapping[str, str]) -> Iterator[str]:
    for name, pattern in patterns.items():
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"{place}.{name}: '{pattern}' is not a regular expression ({error})."


def _listed(path: str | Sequence[str] | None) -> tuple[str, ...]:
    """A path, or several, as a tuple; none of nothing."""
    return ((path,) if isinstance(path, str) else tuple(path)) if path else ()
