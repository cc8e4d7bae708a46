"""Weights of several models, or of one at several times, made into those of one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy

import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer

from ruri_kedro.errors import RecipeError

Weights = Mapping[str, torch.Tensor]  # by name, as a state_dict
Encoder = SentenceTransformer | MultiVectorEncoder


def weighted_mean(states: Iterable[Weights], weights: Sequence[float]) -> dict[str, torch.Tensor]:
    """The mean of the tensors of each name, weighted; one state is in memory at a time.

    Sums are in float64, the result has the dtypes of the last state, and what is no float is that of the last state.
    """
    total = 0.0
    means: dict[str, torch.Tensor] = {}
    for state, weight in zip(states, weights, strict=True):
        total += weight
        for name, tensor in state.items():
            if tensor.is_floating_point():
                before = means.get(name, torch.zeros(1, dtype=torch.float64))
                means[name] = before + (tensor.double() - before) * (weight / total if total else 0.0)
            else:
                means[name] = tensor
        kinds = {name: tensor.dtype for name, tensor in state.items()}
    return {name: mean.to(kinds[name]) for name, mean in means.items()}


def merge(
    trained: Encoder, other: Encoder, method: str, weight: float, weight_of: Mapping[str, float] | None = None
) -> Encoder:
    """A model between two of one architecture and vocabulary: at weight 1 the trained one, at 0 the other.

    method: linear, or slerp along the arc between the two (by mergekit); weight_of: in place of `weight`, of parameters
    whose name matches a regular expression; the first that matches counts. Raises RecipeError for models that do not
    fit each other, and for an expression that matches no parameter.
    """
    names = [name for name, _ in trained.named_parameters()]
    chosen = dict.fromkeys(names, weight)
    for pattern, own in reversed((weight_of or {}).items()):
        matching = [name for name in names if re.search(pattern, name)]
        if not matching:
            raise RecipeError(f"merging.weight_of: '{pattern}' matches no parameter, such as {names[0]}.")
        chosen |= dict.fromkeys(matching, own)
    # A model for each weight that is asked for, and of each its own parameters.
    made = {own: _merged(trained, other, method, own) for own in {weight, *chosen.values()}}
    states = {own: model.state_dict() for own, model in made.items()}
    result = made[weight]
    result.load_state_dict({name: states[own][name] for name, own in chosen.items()}, strict=False)
    return result.eval()


def _merged(trained: Encoder, other: Encoder, method: str, weight: float) -> Encoder:
    """A new model; prompts and configuration are those of the trained one."""
    if method == "linear":
        between = deepcopy(trained)
        states = [other.state_dict(), trained.state_dict()]
        shapes, wanted = ({name: tensor.shape for name, tensor in state.items()} for state in states)
        if shapes != wanted:
            name = min(name for name, _ in shapes.items() ^ wanted.items())
            raise RecipeError(f"merging: the models do not fit each other. '{name}' is not of one shape in both.")
        between.load_state_dict(weighted_mean(states, [1 - weight, weight]))
        return between
    try:
        # t goes from the base model to the other one.
        return type(trained).merge([trained, other], method=method, parameters={"t": weight}, base_model=other)
    except ValueError as error:
        raise RecipeError(f"merging: the models do not fit each other. {error}") from error
    except ImportError as error:
        raise RecipeError("merging by slerp needs mergekit: pip install 'ruri-kedro[merging]'") from error
