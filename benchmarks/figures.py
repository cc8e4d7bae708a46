"""What the benchmarks share: a process for each measurement, a JSON line for each figure."""

import json
import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path


def alone(function: Callable, *arguments: object) -> dict[str, float]:
    """The result of a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def peak_memory() -> float:
    """GiB that this process held at most, mapped files among them (Linux)."""
    # Not ru_maxrss: a process starts with that of the one that has started it.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20


def say(bench: str, case: str, ours: float, limit: float | None, unit: str, peer: float | None = None) -> None:
    """Print a figure; `limit` is what it should stay under, `peer` the same figure of another implementation."""
    line = {"bench": bench, "case": case, "ours": float(f"{ours:.5g}"), "peer": peer, "limit": limit, "unit": unit}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    _said.append(line)


def table() -> None:
    """Print all figures said so far as a Markdown table."""
    print("\n| case | ours | peer | limit | unit |\n|---|---:|---:|---:|---|")
    for line in _said:
        numbers = ("-" if line[name] is None else f"{line[name]:.4g}" for name in ("ours", "peer", "limit"))
        print(f"| {line['case']} | {' | '.join(numbers)} | {line['unit']} |")


_said: list[dict] = []
