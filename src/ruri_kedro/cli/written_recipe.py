"""A recipe as its files have it, without the commits of revisions.yml, and what it names on the hub and beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruri_kedro.corpora.hub_facts import Pin
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.blocks import check_blocks
from ruri_kedro.recipe.overrides import fault_in
from ruri_kedro.recipe.revisions import FILE, Repository, named


@dataclass(frozen=True)
class Use:
    """How a source or task reads a data set: files of it or, without paths, splits of a configuration."""

    name: str
    paths: tuple[str, ...]
    configuration: str | None
    splits: tuple[str, ...]


@dataclass(frozen=True)
class WrittenRecipe:
    """The parameters of an environment, its raw folder, its revisions.yml, and the command that writes that."""

    params: Mapping[str, Any]
    raw: Path
    file: Path
    command: str

    @staticmethod
    def of(env: str | None) -> "WrittenRecipe":
        """That of the project here. Raises DataError or RecipeError where there is none.

        Kedro's own loader is taken, which reads no revisions.yml: that may be what is at fault.
        """
        from kedro.config import OmegaConfigLoader
        from kedro.framework.project import settings
        from kedro.utils import find_kedro_project

        project = find_kedro_project(Path.cwd())
        if project is None:
            raise DataError(f"{Path.cwd()} is not in a project. Change to the folder of one.")
        conf = Path(project) / settings.CONF_SOURCE
        if fault := fault_in(conf, env, {}):
            raise RecipeError(fault)
        loader = OmegaConfigLoader(str(conf), env, **settings.CONFIG_LOADER_ARGS)
        params = loader["parameters"]
        check_blocks(params, "sources", "tasks")
        raw = Path(loader["catalog"]["raw"]["filepath"])
        return WrittenRecipe(params, raw, conf / (env or "base") / FILE, f"kedro ruri pin{f' --env {env}' * bool(env)}")

    @cached_property
    def pins(self) -> dict[Pin, list[str]]:
        """Each repository with the commit that the recipe itself has, and the names of what takes it so."""
        found: dict[Pin, dict[str, None]] = {}
        for row in named(self.params):
            parts = row.place.split(".")
            name = parts[1] if parts[0] in ("sources", "tasks") else row.place
            found.setdefault((row.repository, row.revision), {})[name] = None
        order = sorted(found, key=lambda pin: (pin[0], pin[1] or ""))
        return {pin: list(found[pin]) for pin in order}

    def uses(self, repository: Repository) -> list[Use]:
        """How the sources and tasks read a data set."""
        from ruri_kedro.corpora.source import parse_sources

        found = []
        for name, source in parse_sources(self.params.get("sources", {})).items():
            for place in source.inputs:
                if place.hub and place.hub.id == repository.id:
                    splits = tuple((place.split or "").split("+"))
                    found.append(Use(name, place.paths, place.hub.name, splits))
        for row in named(self.params.get("tasks", {}), "tasks"):
            if row.repository == repository:
                paths = (row.row["path"],) if row.row.get("path") else ()
                splits = tuple((row.row.get("split") or "train").split("+"))
                found.append(Use(row.place.split(".")[1], paths, row.row.get("name"), splits))
        return found

    @cached_property
    def files(self) -> dict[str, list[str]]:
        """The paths below the raw folder, each with the names of the sources and tasks that read it."""
        from ruri_kedro.benchmark.tasks.stored import local_paths
        from ruri_kedro.corpora.source import parse_sources

        found: dict[str, dict[str, None]] = {}
        for name, source in parse_sources(self.params.get("sources", {})).items():
            for place in (place for place in source.inputs if place.hub is None and not source.root):
                for path in place.paths:
                    found.setdefault(path, {})[name] = None
        for name, spec in self.params.get("tasks", {}).items():
            for path in local_paths(spec):
                found.setdefault(path, {})[name] = None
        return {path: list(names) for path, names in found.items()}
