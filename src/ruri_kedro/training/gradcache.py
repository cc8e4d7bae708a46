"""Gradients of a loss over a large batch in the memory of a small one (GradCache, arXiv 2101.06983).

Three steps: outputs of all chunks without gradient, gradient of the loss with regard to the outputs, each chunk
again with gradient. Chunks that fit into the memory budget are kept with their graph and not computed twice.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ruri_kedro.training import processes

Forward = Callable[[np.ndarray], torch.Tensor]


def cached_backward(
    forward: Forward,
    chunks: Sequence[np.ndarray],
    chunk_tokens: Sequence[int],
    keep_tokens: int,
    loss_of: Callable[[torch.Tensor], torch.Tensor],
) -> float:
    """Accumulate the gradient of `loss_of(outputs)` in the parameters; returns the loss.

    forward(items) gives one output row per item; `chunks` are a partition of the items 0..m-1; `keep_tokens` is
    how many tokens' activations may be held at a time beyond the chunk in work. Of several processes each works off
    its share of the chunks, and all get the outputs and the loss of all.
    """
    own = processes.share(chunk_tokens)
    kept: dict[int, torch.Tensor] = {}
    states: dict[int, RandomState] = {}
    parts: list[torch.Tensor] = []
    held = 0
    for number in own:
        chunk = chunks[number]
        if held + chunk_tokens[number] <= keep_tokens:
            held += chunk_tokens[number]
            kept[number] = forward(chunk)
            parts.append(kept[number].detach())
        else:
            states[number] = RandomState()
            with torch.no_grad():
                parts.append(forward(chunk))
    if not own:
        with torch.no_grad():
            parts.append(forward(chunks[-1])[:0])  # for the shape
    outputs = _in_order(parts, [chunks[number] for number in own], sum(map(len, chunks))).requires_grad_()
    loss = loss_of(outputs)
    loss.backward()
    for number in own:
        chunk = chunks[number]
        gradient = outputs.grad[torch.as_tensor(chunk, device=outputs.device)]
        if number in kept:
            kept.pop(number).backward(gradient)
        else:
            with states[number]:
                forward(chunk).backward(gradient)
    return float(loss.detach())


def _in_order(parts: list[torch.Tensor], chunks: Sequence[np.ndarray], items: int) -> torch.Tensor:
    """Outputs of all processes in order of the items, float32, so that the loss is computed in full precision."""
    joined = torch.cat(parts).float()
    order = torch.as_tensor(np.concatenate([np.empty(0, np.int64), *chunks]), device=joined.device)
    return processes.total(joined.new_zeros(items, *joined.shape[1:]).index_copy_(0, order, joined))


class RandomState:
    """The random state at its creation; as a context it is in force again, so dropout repeats itself."""

    def __init__(self) -> None:
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None

    def __enter__(self) -> None:
        self._after = RandomState()
        self._set(self)

    def __exit__(self, *_: object) -> None:
        self._set(self._after)

    @staticmethod
    def _set(state: "RandomState") -> None:
        torch.set_rng_state(state.cpu)
        if state.cuda is not None:
            torch.cuda.set_rng_state(state.cuda)
