"""The model that an option `--model` names."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ruri_kedro.models.saved import SavedModel


def saved_model(reference: str, device: str) -> "SavedModel":
    """A model in a folder, in the registry (models:/...) or on the hub, as `SavedModel.of`."""
    from ruri_kedro.models.saved import SavedModel

    if not reference.startswith("models:/"):
        return SavedModel.of(reference, device)
    from ruri_kedro.registry.versions.registered import model_folder

    name = re.split("[@/]", reference.removeprefix("models:/"))[0]
    return SavedModel.of(str(model_folder(reference)), device, name=f"models/{name}")
