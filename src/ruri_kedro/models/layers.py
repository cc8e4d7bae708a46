"""Some of the layers of a model's transformer: the others left out, or kept as they are in a training."""

from collections.abc import Sequence

import torch
from sentence_transformers import SentenceTransformer
from transformers import PreTrainedModel

from ruri_kedro.errors import RecipeError


def keep_layers(model: SentenceTransformer, layers: Sequence[int], parameter: str) -> SentenceTransformer:
    """Leave out all layers of the model's transformer but these, in place; they keep the given order.

    layers: numbers from 0 on. Raises RecipeError, which names `parameter`, for a layer that the model does not have.
    The first layers and the last few are worth most: of multilingual-e5-small 0, 9, 10 and 11.
    """
    transformer = model[0].auto_model
    config = transformer.config
    count = config.num_hidden_layers
    if not layers or len(set(layers)) < len(layers) or max(layers) >= count:
        raise RecipeError(f"{parameter}: {list(layers)}; the model has layers 0 to {count - 1}, each can stand once.")
    owner, name = _layers_of(transformer, count, parameter)
    all_layers = getattr(owner, name)
    setattr(owner, name, torch.nn.ModuleList(all_layers[number] for number in layers))
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):  # local or global attention, by layer
        config.layer_types = [config.layer_types[number] for number in layers]
    _check_reopens(transformer, f"{parameter}: {list(layers)}")
    return model


def train_last_layers(model: torch.nn.Module, layers: int, parameter: str) -> None:
    """Keep all weights of a model's transformer fixed that stand before its last `layers` layers.

    No gradient goes through these, which takes less time and memory: of 12 layers with the last 4 trained, 20 in place
    of 36 passes through a layer, forward and backward. Of a model that has no more layers all weights are trained.
    Raises RecipeError, which names `parameter`, where the layers cannot be told.
    """
    transformer = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
    count = transformer.config.num_hidden_layers
    if layers >= count:
        return
    owner, name = _layers_of(transformer, count, parameter)
    first = next(getattr(owner, name)[count - layers].parameters())
    # In the order in which a model registers them, which is that of its forward pass.
    for weights in transformer.parameters():
        if weights is first:
            break
        weights.requires_grad_(False)


def train_mode(model: torch.nn.Module) -> None:
    """Put a model into training mode, but for its modules of which no weight is trained.

    These compute as they will once the model is used, without dropout, which is a sixth of the time of a training step
    on a CPU.
    """
    model.train()
    for module in model.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            module.eval()


def _check_reopens(transformer: torch.nn.Module, asked: str) -> None:
    """Raises RecipeError if the architecture, built anew, has other weights: the first layer of ModernBERT differs."""
    with torch.device("meta"):
        anew = type(transformer)(transformer.config)
    if anew.state_dict().keys() != transformer.state_dict().keys():
        raise RecipeError(
            f"{asked}; layers of {type(transformer).__name__} cannot take this order. Begin with layer 0."
        )


def _layers_of(transformer: torch.nn.Module, count: int, parameter: str) -> tuple[torch.nn.Module, str]:
    """The module that holds the list of layers, and the list's name there."""
    for module in transformer.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ModuleList) and len(child) == count:
                return module, name
    raise RecipeError(f"{parameter}: {type(transformer).__name__} has no list of {count} layers to choose from.")
