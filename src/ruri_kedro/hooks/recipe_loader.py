"""Kedro's loader of configuration, which completes the parameters with the commits of conf/<env>/revisions.yml."""

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.revisions import FILE, Repository, read_revisions, unknown_repositories, with_revisions


class RecipeLoader(OmegaConfigLoader):
    """The one place where revisions.yml is read: whoever loads parameters has them with their commits."""

    def __getitem__(self, key: str) -> Any:
        """As Kedro's; the parameters are read and resolved once, not for each hook that looks at them.

        Raises RecipeError for a revisions.yml of another form, and for a name that no row has.
        """
        found = super().__getitem__(key)
        if key != "parameters" or key in self:
            return found
        path = Path(self.conf_source) / (self.env or self.base_env) / FILE
        revisions = read_revisions(path)
        if unknown := self._unknown(found, revisions):
            raise RecipeError(
                f"{path}: the recipe names no {unknown[0].kind} '{unknown[0]}' on the hub. Remove the line, or write "
                "the file again: kedro ruri pin."
            )
        self[key] = with_revisions(found, revisions)
        return self[key]

    def _unknown(self, params: dict[str, Any], revisions: dict[Repository, str]) -> list[Repository]:
        """Repositories that the recipe does not name; what `--params` has put in the place of one counts as named."""
        unknown = unknown_repositories(params, revisions)
        if unknown and self.runtime_params:
            written = OmegaConfigLoader(
                self.conf_source, self.env, base_env=self.base_env, default_run_env=self.default_run_env,
                merge_strategy=self.merge_strategy,
            )  # fmt: skip
            unknown = unknown_repositories(written["parameters"], unknown)
        return unknown
