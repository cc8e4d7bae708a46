"""What the parts of gpu.py are given, and how they measure."""

import gc
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from figures import tell
from peers import Pairs

PRECISION = "bfloat16"
PACKAGES = ("torch", "transformers", "sentence-transformers", "flash-attn", "faiss-gpu-cu12", "faiss-cpu")
Step = Callable[[int], object]  # on so many rows


@dataclass(frozen=True)
class Work:
    """What all parts are given."""

    device: str  # cuda or cpu
    model: Path  # an encoder without dropout
    large_model: tuple[int, int]  # layers and width of the one with random weights
    pairs: Pairs
    seconds: float  # for which a step is repeated
    chunk: int  # padded tokens of a forward pass
    batch: int  # pairs of a step whose activations are kept
    large: int  # pairs of a step whose activations are not
    groups: int  # queries of a step of the reranker
    texts: int  # passages that are encoded
    documents: int  # vectors that are searched,
    queries: int  # for so many
    steps: int  # of a whole training


class Skipped(Exception):
    """Why a part cannot run here."""


def machine(device: str) -> None:
    """Tell the card's name and memory, and the versions of what computes."""
    found = {name: _version(name) for name in PACKAGES}
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {"card": card.name, "card_gib": round(card.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    tell("machine", device=device, cores=os.cpu_count(), python=platform.python_version(), **found)


def _version(package: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def measure(
    part: str, way: str, work: Work, count: int, make: Callable[[], Step], unit: str, each: int = 1, warm: int = 0
) -> None:
    """Tell how fast a step is on `count` rows of `each` units, and the card's memory that it takes at most.

    Model, optimizer and inputs are made for the step and are part of that memory. The first call is not counted: it
    has `warm` rows if given, and its time and loss are told by themselves.
    """
    gc.collect()
    on_card = work.device == "cuda"
    if on_card:
        torch.cuda.init()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step = make()

    def seconds(rows: int) -> tuple[float, object]:
        began = time.perf_counter()
        found = step(rows)
        if on_card:
            torch.cuda.synchronize()
        return time.perf_counter() - began, found

    first, found = seconds(warm or count)
    taken = [seconds(count)[0]]
    while sum(taken) < work.seconds:
        taken.append(seconds(count)[0])
    told = {"loss": round(found, 5)} if isinstance(found, float) else {}
    speed = {"speed": round(len(taken) * count * each / sum(taken), 1), "unit": f"{unit}/s", "first_s": round(first, 2)}
    tell(part, way=way, batch=count * each, **speed, **told, **memory(work))


def memory(work: Work) -> dict[str, float]:
    """The card's memory at most, since it was last measured; nothing of a CPU."""
    if work.device == "cpu":
        return {}
    return {"gib": round(torch.cuda.max_memory_allocated() / 2**30, 3)}
