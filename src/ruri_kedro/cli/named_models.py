"""The model that `--model` names: a folder, a version of the registry, or one of the hub."""

import re

from ruri_kedro.models.saved import SavedModel


def saved_model(reference: str, device: str) -> SavedModel:
    """The model that `--model` names."""
    if not reference.startswith("models:/"):
        return SavedModel.of(reference, device)
    from ruri_kedro.registry.versions.registered import model_folder

    name = re.split("[@/]", reference.removeprefix("models:/"))[0]
    return SavedModel.of(str(model_folder(reference)), device, name=f"models/{name}")
