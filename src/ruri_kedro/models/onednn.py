"""Linear layers in float32 on a CPU by oneDNN instead of MKL, which torch takes and which is slow on AMD's processors.

On an EPYC with AVX-512, one thread, 4,096 tokens of width 128 to 512: 130 to 220 GFLOP/s against 85 to 100.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode


def fast_linear(device: torch.device) -> AbstractContextManager:
    """In this context float32 linear layers on a CPU go by oneDNN, with their gradients; elsewhere nothing changes."""
    # The operator is private to torch; one without it computes as usual.
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    usable = device.type == "cpu" and there
    return _FastLinear() if usable else nullcontext()


class _FastLinear(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: Sequence = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is F.linear and _fits(*args, **(kwargs or {})):
            return _Linear.apply(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _fits(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> bool:
    if torch.compiler.is_compiling():  # the compiler takes oneDNN by itself
        return False
    is_float32 = input.dtype == weight.dtype == torch.float32
    return is_float32 and not torch.is_autocast_enabled("cpu") and input.ndim > 1 and input.numel() > 0


class _Linear(torch.autograd.Function):
    """x (..., k), weight (n, k), bias (n,) to (..., n)."""

    @staticmethod
    def forward(ctx, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        ctx.save_for_backward(input, weight)
        return _product(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        of_input, of_weight, *of_bias = ctx.needs_input_grad
        g, x = gradient.reshape(-1, gradient.shape[-1]).T, input.reshape(-1, input.shape[-1]).T
        return (
            _product(gradient, weight.T) if of_input else None,
            # oneDNN is faster with the smaller side first.
            (_product(g, x) if len(g) <= len(x) else _product(x, g).T) if of_weight else None,
            *(g.sum(dim=1) if wanted else None for wanted in of_bias),
        )


def _product(rows: torch.Tensor, columns: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """rows @ columns.T + bias, by the operator that torch.compile takes for linear layers on a CPU."""
    return torch.ops.mkldnn._linear_pointwise(rows, columns, bias, "none", [], "")
