"""Which prompts a model is tested with: a set of `mteb.prompts`, by default the one it was saved with."""

from collections.abc import Mapping
from typing import Any

from ruri_kedro.benchmark.tasks.types import prompted_types
from ruri_kedro.errors import RecipeError

_SIDES = ("query", "document")


def named_prompts(mteb: Mapping[str, Any], name: str) -> Mapping[str, str]:
    """The set of this name; RecipeError, with the sets there are, where there is none."""
    if name not in mteb["prompts"]:
        raise RecipeError(f"prompts '{name}' are not in mteb.prompts. There are: {', '.join(mteb['prompts'])}.")
    return mteb["prompts"][name]


def mteb_name(role: str) -> str:
    """mteb's name of a role of texts; that of a type of task which mteb has not is its own."""
    kind = prompted_types().get(role)
    return (kind and kind.mteb_type) or role


def recipe_prompts(prompts: Mapping[str, str], task_prompts: Mapping[str, str]) -> dict[str, str]:
    """The set that a recipe's own models are trained and tested with, under mteb's names."""
    return {**prompts, **{mteb_name(role): prompt for role, prompt in task_prompts.items()}}


def saved_prompts(
    model: str, saved: Mapping[str, str], mteb: Mapping[str, Any], own: Mapping[str, str]
) -> dict[str, str]:
    """The prompts that a model was saved with, and what the set with the same two for queries and documents adds.

    Sets are `own`, that of the recipe, and those of `mteb.prompts`. Raises RecipeError for a model that was saved
    without prompts: which ones it was trained with is not to be guessed.
    """
    sides = {"query": saved.get("query", ""), "document": saved.get("document", saved.get("passage", ""))}
    if not any(sides.values()):
        raise RecipeError(
            f"model '{model}' was saved without prompts. Name those it was trained with (--prompts, or "
            f"ablations.benchmark.prompts), one of mteb.prompts: {', '.join(mteb['prompts'])}."
        )
    for known in (own, *mteb["prompts"].values()):
        if {side: known.get(side) for side in _SIDES} == sides:
            return {**known, **saved, **sides}
    return {**saved, **sides}
