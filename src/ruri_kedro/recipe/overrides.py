"""What is given with `--env` and `--params`, against what is there: a misspelt name would change nothing."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML was built with it: ten times as fast

# Their keys are the user's own, or optional.
OPEN = ("sources", "tasks", "development", "_corpora", "_benchmarks")


def fault_in(conf: Path, env: str | None, given: Mapping[str, Any]) -> str | None:
    """What is wrong with the environment and the parameters of a run, as a line; None if nothing is."""
    if env and not (conf / env).is_dir():
        there = sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and folder.name != "local")
        return f"--env {env}: there is no folder {conf / env}. There are: {', '.join(there)}."
    return unknown_parameter(given, [conf / "base", conf / (env or "local")])


def unknown_parameter(given: Mapping[str, Any], folders: list[Path]) -> str | None:
    """A line about the first name in `given` that no parameter file or `${runtime_params:...}` of `folders` has.

    Below a value that is not a block, an empty block or one of the user's own names (`sources`), every name is known.
    """
    known = _parameters(folders)
    for path in _paths(given):
        block: Any = known
        for depth, key in enumerate(path):
            if not isinstance(block, dict) or not block or path[0] in OPEN:
                break
            if key not in block:
                near = get_close_matches(key, map(str, block), n=1)
                hint = f" Did you mean {'.'.join([*path[:depth], near[0]])}?" if near else ""
                return f"--params {'.'.join(path)}: there is no such parameter.{hint} conf/base has them all."
            block = block[key]
    return None


def _parameters(folders: list[Path]) -> dict[str, Any]:
    """The parameters as written, later folders over earlier ones, and the names that only `--params` gives."""
    found: dict[str, Any] = {}
    files = [file for folder in folders for file in sorted(folder.glob("globals.yml"))]
    # What a global without a value stands for is not there in this recipe, such as sizes.
    absent = {name for name, value in _merge_all(files).items() if value is None}
    for folder in folders:
        for file in sorted(folder.glob("*.yml")):
            text = file.read_text("utf-8")
            named = re.findall(r"\$\{runtime_params:(\w+)", text)
            found |= {name: None for name in named if name not in found and name not in absent}
            if file.name.startswith("parameters"):
                found = _merged(found, yaml.load(text, Loader=_LOADER) or {})
    return found


def _merge_all(files: list[Path]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for file in files:
        values |= yaml.load(file.read_text("utf-8"), Loader=_LOADER) or {}
    return values


def _merged(first: Any, second: Any) -> Any:
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return first | {key: _merged(first.get(key), value) for key, value in second.items()}


def _paths(given: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in given.items():
        path = (*prefix, str(key))
        if isinstance(value, Mapping) and value:
            yield from _paths(value, path)
        else:
            yield path
