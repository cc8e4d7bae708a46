"""The recipe as other --params would have it, for nodes that train it with several settings."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ruri_kedro.hooks.precision import decided
from ruri_kedro.hooks.recipe_loader import RecipeLoader


@dataclass(frozen=True)
class RecipeVariants:
    """Gives the parameters of a run with more --params than it has."""

    conf_source: str
    env: str | None
    runtime_params: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the loader

    @staticmethod
    def of(loader: RecipeLoader) -> "RecipeVariants":
        """Those of the run that the loader belongs to."""
        names = ("base_env", "default_run_env", "merge_strategy")
        arguments = {name: getattr(loader, name) for name in names}
        return RecipeVariants(str(loader.conf_source), loader.env, loader.runtime_params or {}, arguments)

    def __call__(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters with `changes` (nested) in place of what the run was given."""
        given = merged(self.runtime_params, changes)
        loader = RecipeLoader(self.conf_source, self.env, runtime_params=given, **self.arguments)
        return decided(loader["parameters"])


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values of both, those of `second` where both have one."""
    made = deepcopy(dict(first))
    for key, value in second.items():
        both = isinstance(value, Mapping) and isinstance(made.get(key), Mapping)
        made[key] = merged(made[key], value) if both else deepcopy(value)
    return made
