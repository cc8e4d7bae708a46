"""The numbers that forward passes compute with. No torch is imported here before there is such a pass."""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruri_kedro.errors import RecipeError

if TYPE_CHECKING:
    import torch

TRAINED = ("float32", "bfloat16")  # gradients in float16 fall below its smallest number
READ = (*TRAINED, "float16")
AUTO = "auto"  # bfloat16 where the machine has units for it

_BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16")  # of a processor, as Linux names them
_CPU_INFO, _NVIDIA = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia")


def check_precision(precision: str, parameter: str, allowed: tuple[str, ...] = READ) -> None:
    """Raises RecipeError if `parameter` is none of the allowed precisions."""
    if precision not in allowed:
        raise RecipeError(f"{parameter}: '{precision}'; use {', '.join(allowed[:-1])} or {allowed[-1]}.")


def autocast(device: "torch.device", precision: str) -> AbstractContextManager:
    """The context of forward passes: products in `precision`, weights in float32, sums as torch's autocast has them."""
    import torch

    return torch.autocast(device.type, dtype=getattr(torch, precision), enabled=precision != "float32")


def automatic(parameters: Mapping[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the parameters leave a precision to the machine: the path of each key `precision: auto`."""
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from automatic(value, (*place, str(key)))
        elif value == AUTO and re.search(r"(^|_)precision$", str(key)):
            yield (*place, str(key))


def fastest(device: str) -> str:
    """What `auto` stands for on this machine: bfloat16 where its GPU or processor has units for it, else float32.

    device: auto, cpu or cuda. Without such units a processor takes longer in bfloat16 than in float32.
    """
    if device != "cpu" and _NVIDIA.exists():  # torch takes seconds to say that there is no GPU
        import torch

        if torch.cuda.is_available():
            return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    flags = _CPU_INFO.read_text(errors="replace").split() if _CPU_INFO.exists() else []
    return "bfloat16" if any(unit in flags for unit in _BFLOAT16_UNITS) else "float32"
