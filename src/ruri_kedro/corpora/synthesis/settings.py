"""The parameters `synthesis`, checked before anything is read or sent."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ruri_kedro.corpora.source import Source, parse_sources
from ruri_kedro.corpora.synthesis.chat import Prompt
from ruri_kedro.corpora.synthesis.choose import Choice
from ruri_kedro.corpora.synthesis.dispatch import Limits
from ruri_kedro.corpora.synthesis.tasks import TASKS, Task
from ruri_kedro.corpora.synthesis.usage import Prices
from ruri_kedro.encoders.foreign_code import refuse_code
from ruri_kedro.encoders.reference import folder_digest
from ruri_kedro.errors import RecipeError
from ruri_kedro.text.names import check_names

_EXCERPT = {"title", "section", "text"}


@dataclass(frozen=True)
class ModelSettings:
    """Which model writes. `server`: by the name it has there; `local`: a checkpoint that transformers loads."""

    backend: str
    name: str
    options: Mapping[str, Any]  # of the generation
    revision: str | None = None
    device: str = "auto"
    base_url: str = ""
    timeout: float = 300.0  # seconds without a byte
    api_key_env: str | None = None

    def __post_init__(self) -> None:
        if self.backend not in ("server", "local"):
            raise RecipeError(f"synthesis.model.backend: '{self.backend}' is unknown. Allowed: local, server.")
        if not self.name:
            raise RecipeError("synthesis.model.name: missing. Name the model as the server knows it, or a checkpoint.")
        if not isinstance(self.max_tokens, int) or self.max_tokens < 1:
            raise RecipeError("synthesis.model.options.max_tokens: missing. It bounds what an answer can cost.")
        if self.backend == "local":
            require_pinned("synthesis.model", self.name, self.revision)
        elif not self.base_url.startswith(("http://", "https://")) or "@" in self.base_url:
            raise RecipeError(
                f"synthesis.model.base_url: '{self.base_url.rpartition('@')[2]}' is no plain http or https address, as "
                "http://localhost:8000/v1. A key goes into the variable that api_key_env names."
            )

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


@dataclass(frozen=True)
class ScoreSettings:
    """How rows are scored and which share of them, those with the lowest scores, is dropped.

    `self`: the writing model gives a number from `lowest` to `highest` to `prompt`. `reward`: a checkpoint with a
    sequence classification head; `output` names its logit where it has several.
    """

    by: str
    drop: float
    prompt: Prompt | None = None
    lowest: float = 1
    highest: float = 10
    name: str | None = None
    revision: str | None = None
    output: str | None = None
    max_length: int = 1024
    chunk_tokens: int = 4096
    device: str = "auto"


@dataclass(frozen=True)
class SetSettings:
    """One set of rows: what is asked about which excerpts."""

    name: str
    kind: str
    source: Source
    choice: Choice
    prompt: Prompt
    score: ScoreSettings | None
    answer_in_passage: bool = False

    @property
    def task(self) -> Task:
        """What an answer must be."""
        return TASKS[self.kind]


@dataclass(frozen=True)
class Settings:
    """All of it. `rows` are the parameters of each set as they were given."""

    journal: Path
    model: ModelSettings
    requests: Limits
    prices: Prices
    max_cost: float | None
    sets: tuple[SetSettings, ...]
    rows: Mapping[str, Mapping[str, Any]] = field(repr=False)


def parse_settings(row: Mapping[str, Any]) -> Settings:
    """The settings. A set whose count is 0 is left out. Raises RecipeError that names the parameter."""
    known = ("seed", "journal", "model", "requests", "prices", "max_cost", "sets")
    _check_keys("synthesis", row, known, known)
    check_names("synthesis.sets", row["sets"])
    wanted = {name: given for name, given in row["sets"].items() if given.get("count") != 0}
    if not wanted:
        raise RecipeError("synthesis.sets: no set has a count above 0.")
    return Settings(
        journal=Path(row["journal"]),
        model=_make(ModelSettings, "synthesis.model", row["model"]),
        requests=_make(Limits, "synthesis.requests", row["requests"]),
        prices=_make(Prices, "synthesis.prices", row["prices"]),
        max_cost=row["max_cost"],
        sets=tuple(_parse_set(name, given, row["seed"]) for name, given in wanted.items()),
        rows=wanted,
    )


def _parse_set(name: str, row: Mapping[str, Any], seed: int) -> SetSettings:
    place = f"synthesis.sets.{name}"
    required = ("kind", "source", "count", "per_article", "min_chars", "max_chars", "prompt", "score")
    _check_keys(place, row, (*required, "paragraphs", "answer_in_passage"), required)
    if row["kind"] not in TASKS:
        raise RecipeError(f"{place}.kind: '{row['kind']}' is unknown. Allowed: {', '.join(sorted(TASKS))}.")
    if row.get("answer_in_passage") and "answer" not in TASKS[row["kind"]].fields:
        raise RecipeError(f"{place}.answer_in_passage: only answers of question_to_passage can be in a passage.")
    drawn = {f.name: row[f.name] for f in fields(Choice) if f.name in row}
    return SetSettings(
        name=name,
        kind=row["kind"],
        source=parse_sources({name: {"kind": "collection", **row["source"]}})[name],
        choice=_make(Choice, place, {**drawn, "seed": seed}),
        prompt=_parse_prompt(f"{place}.prompt", row["prompt"], {"text"}, _EXCERPT),
        score=_parse_score(f"{place}.score", row["score"], TASKS[row["kind"]]),
        answer_in_passage=row.get("answer_in_passage", False),
    )


def _parse_prompt(place: str, row: Mapping[str, str], needed: set[str], allowed: set[str]) -> Prompt:
    prompt = _make(Prompt, place, row)
    try:
        used = prompt.names()
    except ValueError as error:
        raise RecipeError(f"{place}: {error}.") from error
    for name in sorted((used - allowed) | (needed - used)):
        what = "is not in the prompt, so the model would not see it" if name in needed else "cannot be filled in"
        raise RecipeError(f"{place}: ${name} {what}. There are: {', '.join(f'${n}' for n in sorted(allowed))}.")
    return prompt


def _parse_score(place: str, row: Mapping[str, Any] | None, task: Task) -> ScoreSettings | None:
    if row is None:
        return None
    given = dict(row)
    written = set(task.fields)
    if given.get("prompt") is not None:
        given["prompt"] = _parse_prompt(f"{place}.prompt", given["prompt"], {"text"} | written, _EXCERPT | written)
    score = _make(ScoreSettings, place, given)
    if score.by not in ("self", "reward"):
        raise RecipeError(f"{place}.by: '{score.by}' is unknown. Allowed: reward, self; or score: null.")
    if not 0 <= score.drop < 1:
        raise RecipeError(f"{place}.drop: {score.drop} is no share between 0 and 1.")
    if score.by == "self" and (score.prompt is None or not score.lowest < score.highest):
        raise RecipeError(f"{place}: a prompt is missing, or lowest is not below highest.")
    if score.by == "reward":
        if not score.name:
            raise RecipeError(f"{place}.name: missing. Name a reward model: a folder, or a hub name with its revision.")
        require_pinned(place, score.name, score.revision)
    return score


def require_pinned(place: str, name: str, revision: str | None) -> None:
    """Raise RecipeError for a checkpoint that is neither a folder nor pinned to a commit, or needs code of its own."""
    if not Path(name).is_dir() and not revision:
        raise RecipeError(
            f"{place}: '{name}' is no local folder and has no revision. Give the commit of the hub repository as "
            f"{place}.revision, or the path of a folder as {place}.name."
        )
    refuse_code(Path(name))


def _make(cls: type, place: str, row: Mapping[str, Any]) -> Any:
    """An instance of a dataclass from parameters. Raises RecipeError for one that is unknown or missing."""
    known = [f.name for f in fields(cls)]
    required = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    _check_keys(place, row, known, required)
    return cls(**row)


def _check_keys(place: str, row: Mapping[str, Any], known: Any, required: Any) -> None:
    for key in row:
        if key not in known:
            raise RecipeError(f"{place}: '{key}' is unknown. Allowed: {', '.join(sorted(known))}.")
    for key in required:
        if key not in row:
            raise RecipeError(f"{place}.{key}: missing.")
