"""Which dataclass describes which block of parameters, so that all are parsed before anything is computed."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import parse

# By place in the parameters. The classes lie in the rooms that use them, above this one: they are named by address.
BLOCKS = {
    "deduplication": "ruri_kedro.corpora.duplicates:DuplicateRules",
    "leaks": "ruri_kedro.benchmark.matches:LeakRules",
    "bm25": "ruri_kedro.retrieval.bm25:BM25Settings",
    "mining.supervised.nearest": "ruri_kedro.retrieval.nearest:NearestSettings",
}


def faults_in(recipe: Mapping[str, Any]) -> Iterator[str]:
    """A line for each fault of the blocks that are there."""
    for place, address in BLOCKS.items():
        row = _at(recipe, place)
        if row is None:
            continue
        module, _, name = address.partition(":")
        try:
            parse(getattr(import_module(module), name), row, place)
        except RecipeError as error:
            yield from str(error).splitlines()


def _at(recipe: Mapping[str, Any], place: str) -> Any:
    found: Any = recipe
    for name in place.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
