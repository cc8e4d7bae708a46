"""The numbers that forward passes compute with. No torch is imported here before there is such a pass."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ruri_kedro.errors import RecipeError

if TYPE_CHECKING:
    import torch

TRAINED = ("float32", "bfloat16")  # gradients in float16 fall below its smallest number
READ = (*TRAINED, "float16")


def check_precision(precision: str, parameter: str, allowed: tuple[str, ...] = READ) -> None:
    """Raises RecipeError if `parameter` is none of the allowed precisions."""
    if precision not in allowed:
        raise RecipeError(f"{parameter}: '{precision}'; use {', '.join(allowed[:-1])} or {allowed[-1]}.")


def autocast(device: "torch.device", precision: str) -> AbstractContextManager:
    """The context of forward passes: products in `precision`, weights in float32, sums as torch's autocast has them."""
    import torch

    return torch.autocast(device.type, dtype=getattr(torch, precision), enabled=precision != "float32")
