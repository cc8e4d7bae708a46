"""Scores of (query, passage) pairs by a teacher of each kind. Torch is imported when one is loaded."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ruri_kedro.errors import RecipeError

if TYPE_CHECKING:
    import numpy as np

# (pairs) -> float32 (pairs,), higher is better.
ScorePairs = Callable[[Sequence[tuple[str, str]]], "np.ndarray"]


def cross_encoder(
    name: str, revision: str | None, device: str, max_length: int, chunk_tokens: int, precision: str
) -> ScorePairs:
    """A cross-encoder's logits of pairs of up to `max_length` tokens."""
    from ruri_kedro.models.base import check_length, device_kind, load_cross_encoder
    from ruri_kedro.models.forward import score_pairs

    model = load_cross_encoder(name, revision=revision).to(device_kind(device))
    check_length(model, max_length, "finetuning.teacher_max_length")
    return lambda pairs: score_pairs(model, pairs, max_length, chunk_tokens, precision=precision)


def multi_vector(
    name: str, revision: str | None, device: str, max_length: int, chunk_tokens: int, precision: str
) -> ScorePairs:
    """MaxSim of a late interaction model, as a mean over the vectors of the query: a number from -1 to 1.

    A sum is higher for a longer query, so that the scores of two queries could not be compared with one threshold.
    Lengths and prompts are the model's own; `max_length` has no effect.
    """
    from ruri_kedro.models.base import device_kind
    from ruri_kedro.models.late_interaction import LateInteraction
    from ruri_kedro.models.multi_vector import is_multi_vector, load_multi_vector

    if not is_multi_vector(name, revision):
        raise RecipeError(
            f"finetuning.teacher: '{name}' is not a model of the kind multi_vector. Name one, or set another kind."
        )
    late = LateInteraction(load_multi_vector(name, revision).to(device_kind(device)), chunk_tokens, precision=precision)
    return late.mean_scores


# By the parameter `kind` of a teacher, a name of models.kinds.
SCORERS: dict[str, Callable[..., ScorePairs]] = {scorer.__name__: scorer for scorer in (cross_encoder, multi_vector)}
