"""What the benchmarks share: a process for each measurement, a JSON line for each figure."""

import json
import multiprocessing
import os
import re
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def alone(function: Callable, *arguments: object, seconds: float | None = None) -> Any:
    """The result of a function in a process of its own, which is ended with all that it has started.

    Raises RuntimeError, with what the function raised or how its process ended, and TimeoutError after so many seconds.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise TimeoutError(f"not done after {seconds:.0f} s")
        result, error = receiver.recv()
        process.join(timeout=10)
    except EOFError:
        process.join(timeout=10)
        raise RuntimeError(f"its process ended with exit code {process.exitcode}") from None
    finally:
        process.kill()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    if error is not None:
        raise RuntimeError(error)
    return result


def _answer(sender: Connection, function: Callable, arguments: tuple) -> None:
    os.setpgrp()  # a group of its own, for `alone` to end
    try:
        sender.send((function(*arguments), None))
    except Exception as error:
        traceback.print_exc()
        sender.send((None, f"{type(error).__name__}: {error}"))


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


def tell(part: str, **found: object) -> None:
    """Print what was found in a part of a benchmark."""
    print(json.dumps({"part": part, **found}, ensure_ascii=False), flush=True)


def table() -> None:
    """Print all figures said so far as a Markdown table."""
    print("\n| case | ours | peer | limit | unit |\n|---|---:|---:|---:|---|")
    for line in _said:
        numbers = ("-" if line[name] is None else f"{line[name]:.4g}" for name in ("ours", "peer", "limit"))
        print(f"| {line['case']} | {' | '.join(numbers)} | {line['unit']} |")


_said: list[dict] = []
