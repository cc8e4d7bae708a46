"""The model that `--model` names, and the prompts of the recipe beside it."""

import re
from collections.abc import Mapping
from typing import Any

from ruri_kedro.models.saved import SavedModel


def saved_model(reference: str, device: str) -> SavedModel:
    """The model that `--model` names: a folder, a version of the registry, or one of the hub."""
    if not reference.startswith("models:/"):
        return SavedModel.of(reference, device)
    from ruri_kedro.registry.versions.registered import model_folder

    name = re.split("[@/]", reference.removeprefix("models:/"))[0]
    return SavedModel.of(str(model_folder(reference)), device, name=f"models/{name}")


def prompts_of_recipe(params: Mapping[str, Any]) -> dict[str, str]:
    """The set that the recipe's own models are tested with, from all of its parameters."""
    from ruri_kedro.benchmark.mteb.prompts import recipe_prompts

    # A project that only evaluates may have neither.
    return recipe_prompts(params.get("prompts", {}), params.get("task_prompts", {}))
