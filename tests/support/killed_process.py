"""A process that is killed after a while."""

import time
from collections.abc import Callable
from multiprocessing.context import BaseContext


def run_apart(context: BaseContext, work: Callable, arguments: tuple, seconds: float | None = None):
    """Exit code of `work` in a process of its own, which is killed after so many seconds; and how many it took."""
    process = context.Process(target=work, args=arguments)
    began = time.monotonic()
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
    process.join()
    return process.exitcode, time.monotonic() - began
