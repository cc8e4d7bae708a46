"""The parameters `synthesis`, checked before anything is read or sent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ruri_kedro.corpora.source import Source, parse_source
from ruri_kedro.corpora.synthesis.chat import Prompt
from ruri_kedro.corpora.synthesis.choose import Choice
from ruri_kedro.corpora.synthesis.dispatch import Limits
from ruri_kedro.corpora.synthesis.tasks import TASKS, Task
from ruri_kedro.corpora.synthesis.usage import Prices
from ruri_kedro.errors import RecipeError
from ruri_kedro.models.foreign_code import refuse_code
from ruri_kedro.models.reference import folder_digest
from ruri_kedro.models.settings import Device
from ruri_kedro.recipe.parse import Count, NotNegative, Positive, ShareBelow, Size, parameters, parse
from ruri_kedro.text.names import check_names

_EXCERPT = {"title", "section", "text"}


@parameters
class ModelSettings:
    """Which model writes. `server`: by the name it has there; `local`: a checkpoint that transformers loads."""

    backend: Literal["server", "local"]
    name: str | None  # None: named on the command line
    revision: str | None
    device: Device
    base_url: str
    timeout: Positive  # seconds without a byte
    api_key_env: str | None
    options: Mapping[str, Any]  # of the generation

    def __post_init__(self) -> None:
        if not isinstance(self.max_tokens, int) or self.max_tokens < 1:
            raise RecipeError("options.max_tokens: missing. It bounds what an answer can cost.")
        if self.backend == "server" and (not self.base_url.startswith(("http://", "https://")) or "@" in self.base_url):
            raise RecipeError(
                f"base_url: '{self.base_url.rpartition('@')[2]}' is not a plain http or https address, as "
                "http://localhost:8000/v1. A key goes into the variable that api_key_env names."
            )

    def check(self) -> None:
        """Raise RecipeError where no model is named, or a checkpoint that is not pinned or needs code of its own."""
        if not self.name:
            raise RecipeError("synthesis.model.name: missing. Name the model as the server knows it, or a checkpoint.")
        if self.backend == "local":
            require_pinned("synthesis.model", self.name, self.revision)

    @property
    def max_tokens(self) -> int | None:
        """The longest answer, under either of its names."""
        return self.options.get("max_tokens", self.options.get("max_completion_tokens"))

    @cached_property
    def identity(self) -> str:
        """What the answers depend on besides options and messages; the address of a server is not part of it."""
        if self.backend == "server":
            return self.name
        return folder_digest(Path(self.name)) or f"{self.name}@{self.revision}"


@parameters
class ScoreSettings:
    """How rows are scored and which share of them, those with the lowest scores, is dropped.

    `self`: the writing model gives a number from `lowest` to `highest` to `prompt`. `reward`: a checkpoint with a
    sequence classification head; `output` names its logit where it has several.
    """

    by: Literal["self", "reward"]
    drop: ShareBelow
    prompt: Prompt | None = None
    lowest: float = 1
    highest: float = 10
    name: str | None = None
    revision: str | None = None
    output: str | None = None
    max_length: Count = 1024
    chunk_tokens: Count = 4096
    device: Device = "auto"

    def __post_init__(self) -> None:
        if self.by == "self" and self.prompt is None:
            raise RecipeError("prompt: missing. Give the words that ask for a score.")
        if self.by == "self" and not self.lowest < self.highest:
            raise RecipeError(f"lowest: {self.lowest} is not below highest, {self.highest}.")
        if self.by == "reward" and not self.name:
            raise RecipeError("name: missing. Name a reward model: a folder, or a hub name with its revision.")


@parameters
class SetRow(Choice):
    """The keys of a set, whose names are the user's own: what is asked about which excerpts."""

    kind: Literal[tuple(TASKS)]
    source: Mapping[str, Any]  # as of a source of the recipe, without its kind
    prompt: Prompt
    score: ScoreSettings | None  # None: nothing is dropped
    answer_in_passage: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        written = set(self.task.fields)
        faults = list(_unfilled("prompt", self.prompt, {"text"}, _EXCERPT))
        if self.score is not None and self.score.prompt is not None:
            faults += _unfilled("score.prompt", self.score.prompt, {"text"} | written, _EXCERPT | written)
        if self.answer_in_passage and "answer" not in written:
            faults.append("answer_in_passage: only answers of question_to_passage can be in a passage.")
        if faults:
            raise RecipeError("\n".join(faults))

    @property
    def task(self) -> Task:
        """What an answer must be."""
        return TASKS[self.kind]


@parameters
class Settings:
    """Parameters `synthesis`."""

    seed: Size
    journal: str
    model: ModelSettings
    requests: Limits
    prices: Prices
    max_cost: NotNegative | None
    sets: Mapping[str, SetRow]


@dataclass(frozen=True)
class WantedSet:
    """A set of rows that is made. `given` are its parameters as they stand in the recipe."""

    name: str
    row: SetRow
    source: Source
    given: Mapping[str, Any] = field(repr=False)


def parse_synthesis(row: Any) -> tuple[Settings, dict[str, Source]]:
    """The parameters and the source of each set. Raises RecipeError with a line for each fault."""
    sets = row.get("sets") if isinstance(row, Mapping) else None
    sources, faults, parsed = {}, [], None
    try:
        parsed = parse(Settings, row, "synthesis")
        check_names("synthesis.sets", parsed.sets)
    except RecipeError as error:
        faults.append(str(error))
    for name, given in sets.items() if isinstance(sets, Mapping) else ():
        source = given.get("source") if isinstance(given, Mapping) else None
        if isinstance(source, Mapping):
            try:
                place = f"synthesis.sets.{name}.source"
                sources[name] = parse_source(name, {"kind": "collection", **source}, place)
            except RecipeError as error:
                faults.append(str(error))
    if faults or parsed is None:
        raise RecipeError("\n".join(faults))
    return parsed, sources


def parse_settings(row: Mapping[str, Any]) -> tuple[Settings, list[WantedSet]]:
    """What a run needs. A set whose count is 0 is left out. Raises RecipeError that names the parameter."""
    settings, sources = parse_synthesis(row)
    settings.model.check()
    wanted = [WantedSet(name, given, sources[name], row["sets"][name])
              for name, given in settings.sets.items() if given.count]  # fmt: skip
    if not wanted:
        raise RecipeError("synthesis.sets: no set has a count above 0.")
    for each in wanted:
        if (score := each.row.score) is not None and score.by == "reward":
            require_pinned(f"synthesis.sets.{each.name}.score", str(score.name), score.revision)
    return settings, wanted


def _unfilled(place: str, prompt: Prompt, needed: set[str], allowed: set[str]) -> Iterator[str]:
    """What is wrong with the names that a prompt has filled in."""
    try:
        used = prompt.names()
    except ValueError as error:
        yield f"{place}: {error}."
        return
    for name in sorted((used - allowed) | (needed - used)):
        what = "is not in the prompt, so the model would not see it" if name in needed else "cannot be filled in"
        yield f"{place}: ${name} {what}. There are: {', '.join(f'${n}' for n in sorted(allowed))}."


def require_pinned(place: str, name: str, revision: str | None) -> None:
    """Raise RecipeError for a checkpoint that is neither a folder nor pinned to a commit, or needs code of its own."""
    if not Path(name).is_dir() and not revision:
        raise RecipeError(
            f"{place}: '{name}' is not a local folder and has no revision. Give the commit of the hub repository as "
            f"{place}.revision, or the path of a folder as {place}.name."
        )
    refuse_code(Path(name))
