"""The commits of models and data sets on the hub that a recipe names without one: conf/<env>/revisions.yml."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from ruri_kedro.errors import RecipeError

FILE = "revisions.yml"
MAIN = "main"
COMMIT = re.compile("[0-9a-f]{40}")

_HUB = re.compile(r"(^|\.)hub(\.[0-9]+)?$")  # places of data sets: one, or a list of several
_SECTIONS = {"model": "models", "dataset": "datasets"}
_REMEDY = "Write it again: kedro ruri pin"


@dataclass(frozen=True, order=True)
class Repository:
    """A model or data set on the hub, and the branch whose commit it is pinned to."""

    kind: Literal["model", "dataset"]
    id: str
    ref: str = MAIN

    def __str__(self) -> str:
        return self.id if self.ref == MAIN else f"{self.id}@{self.ref}"


Revisions = dict[Repository, str]  # commits, 40 digits


@dataclass(frozen=True)
class Named:
    """A row of the parameters that names a repository; `place` is its dotted path."""

    place: str
    repository: Repository
    row: Mapping[str, Any]

    @property
    def revision(self) -> str | None:
        """What the row itself is pinned to."""
        return self.row.get("revision")


def named(params: Any, place: str = "") -> Iterator[Named]:
    """The rows below `params` that name a model or data set on the hub, at any depth; folders are none.

    A data set is a row `hub` with an `id`, a model one with `name` and `revision`, not one behind a server.
    """
    if isinstance(params, Mapping):
        if repository := _repository(params, place):
            yield Named(place, repository, params)
        for key, value in params.items():
            yield from named(value, f"{place}.{key}" if place else str(key))
    elif isinstance(params, list | tuple):
        for number, value in enumerate(params):
            yield from named(value, f"{place}.{number}")


def with_revisions(params: Any, revisions: Mapping[Repository, str], place: str = "") -> Any:
    """The parameters, with the commit of `revisions` in each row that names a repository without a revision."""
    if isinstance(params, Mapping):
        found = {key: with_revisions(value, revisions, f"{place}.{key}") for key, value in params.items()}
        repository = None if params.get("revision") else _repository(params, place)
        return found | {"revision": revisions[repository]} if repository in revisions else found
    if isinstance(params, list):
        return [with_revisions(value, revisions, f"{place}.{number}") for number, value in enumerate(params)]
    return params


def unknown_repositories(params: Any, revisions: Iterable[Repository]) -> list[Repository]:
    """Those of the repositories that no row below `params` names."""
    there = {row.repository for row in named(params)}
    return sorted(repository for repository in revisions if repository not in there)


def read_revisions(path: Path) -> Revisions:
    """The commits in a file that `revisions_text` made; none where it is not there. Raises RecipeError for others."""
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text("utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML ({type(error).__name__}). {_REMEDY}.") from error
    if not isinstance(content, Mapping) or not set(content) <= set(_SECTIONS.values()):
        raise RecipeError(f"{path}: blocks {' and '.join(_SECTIONS.values())} are expected. {_REMEDY}.")
    found: Revisions = {}
    for kind, section in _SECTIONS.items():
        block = content.get(section) or {}
        if not isinstance(block, Mapping):
            raise RecipeError(f"{path}, {section}: names with commits are expected. {_REMEDY}.")
        for name, commit in block.items():
            if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
                raise RecipeError(f"{path}, {section}.{name}: '{commit}' is no commit of 40 digits. {_REMEDY}.")
            id_, _, ref = str(name).partition("@")
            found[Repository(kind, id_, ref or MAIN)] = commit
    return found


def revisions_text(revisions: Mapping[Repository, str], command: str) -> str:
    """The content of the file with these commits, which `command` has asked for."""
    lines = [f"# Commits on the hub of what the recipe names without a revision. Written by: {command}"]
    for kind, section in _SECTIONS.items():
        rows = sorted((str(repository), commit) for repository, commit in revisions.items() if repository.kind == kind)
        lines += [f"{section}:", *(f'  "{name}": "{commit}"' for name, commit in rows)] if rows else []
    return "\n".join([*lines, ""])


def _repository(row: Mapping[str, Any], place: str) -> Repository | None:
    """What a row at a place of the parameters names, if it is such a row."""
    if "id" in row and _HUB.search(place):
        kind, name = "dataset", row["id"]
    elif "name" in row and "revision" in row and "id" not in row and row.get("backend") != "server":
        kind, name = "model", row["name"]
    else:
        return None
    if not isinstance(name, str) or not name or Path(name).is_dir():
        return None
    ref = row.get("ref")
    return Repository(kind, name, ref if isinstance(ref, str) and ref else MAIN)
