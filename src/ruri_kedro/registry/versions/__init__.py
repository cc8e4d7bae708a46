"""Versions of registered models: what is stored of them, how it is checked, and how they are found and loaded.

`fetch`, `load` and all else of `registered` can be imported from here.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """A name of `registered`, which is imported when it is asked for: modules below this one import each other."""
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.registered"), name)
