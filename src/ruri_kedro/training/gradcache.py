"""Gradients of a loss over a large batch in the memory of a small one (GradCache, arXiv 2101.06983).

Three steps: outputs of all chunks without gradient, gradient of the loss with regard to the outputs, each chunk
again with gradient. Chunks that fit into the memory budget are kept with their graph and not computed twice.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

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
    rows: Sequence[np.ndarray] | None = None,
) -> float:
    """Accumulate the gradient of `loss_of(outputs)` in the parameters; returns the loss.

    forward(items) gives one output row per item, or as many as `rows` says: of each chunk the places of its rows among
    all outputs. `chunks` are a partition of the items 0..m-1; `keep_tokens` is how many tokens' activations may be held
    at a time beyond the chunk in work. Of several processes each works off
    its share of the chunks, and all get the outputs and the loss of all. What a chunk draws at random depends on its
    number, so it is the same in both passes and in any process.
    """
    seed = int(torch.randint(2**62, ()))
    own = processes.share(chunk_tokens)
    rows = chunks if rows is None else rows
    total = sum(map(len, rows))
    kept: dict[int, torch.Tensor] = {}
    outputs: torch.Tensor | None = None
    held = 0
    for number in own or [len(chunks) - 1]:  # without a share: for the shape
        keep = bool(own) and held + chunk_tokens[number] <= keep_tokens
        with draws(seed + number), torch.set_grad_enabled(keep):
            output = forward(chunks[number])
        if outputs is None:
            # All rows at once, in full precision. Small tensors left behind by each chunk would break up the memory
            # that it frees: 1.8 GiB instead of 1.0 for two steps of 4,096 pairs.
            outputs = torch.zeros(total, *output.shape[1:], device=output.device)
        if own:
            outputs[_index(rows[number], outputs)] = output.detach().float()
        if keep:
            held += chunk_tokens[number]
            kept[number] = output
    outputs = processes.total(outputs).requires_grad_()
    loss = loss_of(outputs)
    loss.backward()
    for number in own:
        gradient = outputs.grad[_index(rows[number], outputs)]
        if number in kept:
            kept.pop(number).backward(gradient)
        else:
            with draws(seed + number):
                forward(chunks[number]).backward(gradient)
    return float(loss.detach())


def _index(chunk: np.ndarray, outputs: torch.Tensor) -> torch.Tensor:
    # Without waiting for the device: a chunk is made ready while it computes the one before.
    return torch.as_tensor(chunk).to(outputs.device, non_blocking=True)


@contextmanager
def draws(seed: int) -> Iterator[None]:
    """In this context random numbers are those of the seed; after it they go on as if there had been none."""
    generators = [torch.default_generator]
    if torch.cuda.is_initialized():
        generators.append(torch.cuda.default_generators[torch.cuda.current_device()])
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:  # torch.manual_seed takes a hundred times as long: 0.3 ms for each chunk
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
