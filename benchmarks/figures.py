"""What the benchmarks share: a process for each measurement, a JSON line for each figure."""

import json
import multiprocessing
import resource
from collections.abc import Callable


def alone(function: Callable, *arguments: object) -> dict[str, float]:
    """The result of a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def peak_memory() -> float:
    """GiB that this process held at most, mapped files among them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def say(bench: str, case: str, ours: float, limit: float | None, unit: str, peer: float | None = None) -> None:
    """Print a figure; `limit` is what it should stay under, `peer` the same figure of another implementation."""
    line = {"bench": bench, "case": case, "ours": round(ours, 4), "peer": peer, "limit": limit, "unit": unit}
    print(json.dumps(line), flush=True)
