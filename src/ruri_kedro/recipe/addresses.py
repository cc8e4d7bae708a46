"""Things of higher rooms by their dotted address, so that a table below them can name what it must not import."""

from importlib import import_module
from typing import Any


def resolve(address: str) -> Any:
    """What `package.module:name` names; its module is imported now. AttributeError where it has no such name."""
    module, _, name = address.partition(":")
    return getattr(import_module(module), name)
