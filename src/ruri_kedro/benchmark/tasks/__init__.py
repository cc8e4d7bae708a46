"""The tasks of the benchmark: their parameters, their raw forms, what is stored of them."""

from ruri_kedro.benchmark.tasks.load import load_task

__all__ = ["load_task"]
