"""Where shards are made: in this process, or by Ray Data (extra `scale`); the tables are the same."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import pyarrow as pa

from ruri_kedro.errors import RecipeError

Make = Callable[[Any], pa.Table]
Engine = Callable[[Make, Iterable[Any]], Iterable[pa.Table]]


def _on_ray(make: Make, shards: Iterable[Any]) -> Iterable[pa.Table]:
    from ruri_kedro.engines.ray import on_ray

    return on_ray(make, shards)


ENGINES: dict[str, Engine] = {"local": map, "ray": _on_ray}


def engine_of(name: str) -> Engine:
    """The engine that a recipe names. Raises RecipeError for another name, or where Ray is not installed."""
    if name not in ENGINES:
        raise RecipeError(f"engine: '{name}' is unknown. Allowed: {', '.join(ENGINES)}.")
    if name == "ray" and find_spec("ray") is None:
        raise RecipeError("engine: ray is not installed. Install it (pip install 'ruri-kedro[scale]') or give local.")
    return ENGINES[name]
