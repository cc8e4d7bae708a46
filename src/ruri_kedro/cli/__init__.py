"""The commands of kedro ruri, by subject. Kedro looks for `cli` here."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`cli` and `ruri` are imported when they are asked for: a command that reads the project needs neither."""
    if name not in ("cli", "ruri"):
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from ruri_kedro.cli import commands

    return getattr(commands, name)
