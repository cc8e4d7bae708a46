"""The numbers that forward passes compute with."""

from contextlib import AbstractContextManager

import torch

from ruri_kedro.errors import RecipeError

_KINDS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TRAINED = ("float32", "bfloat16")  # gradients in float16 fall below its smallest number
READ = tuple(_KINDS)


def check_precision(precision: str, parameter: str, allowed: tuple[str, ...] = READ) -> None:
    """Raises RecipeError if `parameter` is none of the allowed precisions."""
    if precision not in allowed:
        raise RecipeError(f"{parameter}: '{precision}'; use {', '.join(allowed[:-1])} or {allowed[-1]}.")


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context of forward passes: products in `precision`, weights in float32, sums as torch's autocast has them."""
    return torch.autocast(device.type, dtype=_KINDS[precision], enabled=precision != "float32")
