"""A block of parameters becomes a frozen dataclass, or one error says everything that is wrong with it.

A dataclass under `parameters` describes its block: each field is a key, its annotation the type and the range,
and a field without a default is a key that must be there. Nothing is guessed: `"3"` is not a number, `1` is not true,
and an unknown key is an error with the nearest known name. Checks across keys stand in `__post_init__`: a line of their
RecipeError that begins with a key and a colon is told under the name of that key, another one under that of the block.
"""

import json
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from typing import Any, TypeVar, dataclass_transform

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ruri_kedro.errors import RecipeError

T = TypeVar("T")

# Ranges of numbers, for annotations.
Count = typing.Annotated[int, Ge(1)]  # from 1 on
Size = typing.Annotated[int, Ge(0)]  # from 0 on
Positive = typing.Annotated[float, Gt(0)]
NotNegative = typing.Annotated[float, Ge(0)]
Share = typing.Annotated[float, Ge(0), Le(1)]  # from 0 to 1
ShareAbove = typing.Annotated[float, Gt(0), Le(1)]  # from above 0 to 1
ShareBelow = typing.Annotated[float, Ge(0), Lt(1)]  # from 0 to below 1

_UNKNOWN = "unexpected_keyword_argument"
_NEAR = 0.6  # similarity from which a name may have been meant
_SHORT = 3  # characters of a name below which a near one is a matter of chance: all are listed


@dataclass_transform(frozen_default=True)
def parameters(kind: type[T]) -> type[T]:
    """Make `kind` a frozen dataclass that `parse` fills: without unknown keys, without conversion of values.

    Fields are positional too unless the class is derived from another one, whose fields may have defaults.
    """
    made = dataclass(frozen=True, kw_only=is_dataclass(kind))(kind)
    made.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return made


def parse(kind: type[T], row: Any, place: str) -> T:
    """`row`, the block of parameters at `place`, as an instance of `kind`.

    Raises one RecipeError with a line for each fault: the full name of the parameter, its value, what is expected.
    """
    if not isinstance(row, Mapping):
        raise RecipeError(f"{place}: {_shown(row)} is given, a block of keys is expected: {', '.join(_keys(kind))}.")
    if odd := [f"{place}{name}: a key must be text. Put it in quotes." for name in _odd_keys(row)]:
        raise RecipeError("\n".join(odd))
    try:
        # Read as JSON, a list is a tuple and a block within a block is a dataclass, and nothing else is converted.
        return _adapter(kind).validate_json(json.dumps(row, default=str))
    except ValidationError as error:
        raise RecipeError("\n".join(_faults(kind, row, place, error))) from None


@cache
def _adapter(kind: type) -> TypeAdapter:
    return TypeAdapter(kind)


def _faults(kind: type, row: Mapping[str, Any], place: str, error: ValidationError) -> Iterator[str]:
    """A line for each parameter that is at fault, in the order of the block."""
    found: dict[tuple, list[Any]] = {}
    for fault in error.errors(include_url=False):
        found.setdefault(_path(row, fault["loc"]), []).append(fault)
    for path, faults in found.items():
        # Where one alternative of a union has looked inside, its faults are told and not those of the others.
        inside = any(len(other) > len(path) and other[: len(path)] == path for other in found)
        if inside and all(fault["type"].endswith("_type") for fault in faults):
            continue
        at = ".".join([place, *map(str, path)] if place else map(str, path))
        if faults[0]["type"] == "value_error":  # of a dataclass, about several of its fields
            yield from (_at(at, line, _kind_at(kind, path)) for line in str(faults[0]["ctx"]["error"]).splitlines())
        else:
            yield f"{at}: {_told(kind, row, path, faults)}"


def _told(kind: type, row: Mapping[str, Any], path: tuple, faults: list[Any]) -> str:
    """What is wrong at `path`: of a union each arm has a fault of its own."""
    first = faults[0]
    if first["type"] == _UNKNOWN or first["loc"][-1] == "[key]":
        return unknown(str(path[-1]), _keys(_kind_at(kind, path[:-1])))
    if not _has(row, path):
        return "missing."
    value = _value(row, path)
    expected = dict.fromkeys(fault["msg"].removeprefix("Input should be ") for fault in faults)
    named = re.findall("'(.*?)'", " ".join(expected))
    hint = f" {meant(value, named)}" if isinstance(value, str) and get_close_matches(value, named, n=1) else ""
    return f"{_shown(value)} is given, expected is {' or '.join(expected)}.{hint}"


def _at(place: str, line: str, kind: Any) -> str:
    """A line of a check across keys under the name that it is about."""
    key, mark, _ = line.partition(":")
    return f"{place}.{line}" if mark and key.partition(".")[0] in _keys(kind) else f"{place}: {line}"


def meant(value: str, allowed: Iterable[str]) -> str:
    """What is said of a value that is none of the allowed ones: the nearest of them, or all."""
    allowed = list(allowed)
    near = get_close_matches(value, allowed, n=1)
    return f"Did you mean {near[0]}?" if near else f"Allowed: {', '.join(allowed)}."


def unknown(name: str, known: Iterable[str]) -> str:
    """What is said of a key that is none of the known ones: the nearest of them or, of a short name, all."""
    known = list(known)
    ratios = {other: SequenceMatcher(None, name, other).ratio() for other in known}
    best = max(ratios.values(), default=0)
    near = [other for other, ratio in ratios.items() if ratio == best and ratio >= _NEAR] if len(name) >= _SHORT else []
    if near:
        return f"there is no such parameter. Did you mean {' or '.join(near)}?"
    allowed = f"Allowed: {', '.join(known)}." if known else "Nothing stands below it."
    return f"there is no such parameter. {allowed}"


def _path(row: Any, loc: tuple) -> tuple:
    """The keys of `loc` without the names that stand for the arms of a union."""
    path: list[Any] = []
    for part in loc:
        inside = isinstance(row, Mapping) and part in row
        if inside or (isinstance(row, list | tuple) and isinstance(part, int) and part < len(row)):
            path, row = [*path, part], row[part]
        elif part == "[key]":
            break
        elif isinstance(row, Mapping) and part == loc[-1] and isinstance(part, str):
            path.append(part)  # a key that is missing
    return tuple(path)


def _has(row: Any, path: tuple) -> bool:
    return not path or not isinstance(_value(row, path[:-1]), Mapping) or path[-1] in _value(row, path[:-1])


def _value(row: Any, path: tuple) -> Any:
    for part in path:
        row = row[part]
    return row


def _kind_at(kind: Any, path: tuple) -> Any:
    """The annotation of what stands at `path` below a block of `kind`."""
    for part in path:
        kind = _block_in(kind, isinstance(part, int))
        if is_dataclass(kind):
            kind = typing.get_type_hints(kind).get(part)
        else:  # names of the user's own, or a list
            arguments = typing.get_args(kind)
            kind = arguments[1] if len(arguments) > 1 and arguments[1] is not Ellipsis else next(iter(arguments), None)
    return _block_in(kind)


def _block_in(kind: Any, listed: bool = False) -> Any:
    """Of a union, the arm that has keys or, if `listed`, places."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    arms = typing.get_args(kind)
    if listed:
        return next((arm for arm in arms if typing.get_origin(arm) is tuple), arms[0])
    return next((arm for arm in arms if is_dataclass(arm) or typing.get_origin(arm)), arms[0])


def _keys(kind: Any) -> list[str]:
    """The keys of a block; of one with names of the user's own none."""
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    arguments = typing.get_args(kind)
    is_listed = len(arguments) == 2 and typing.get_origin(arguments[0]) is typing.Literal
    return list(typing.get_args(arguments[0])) if is_listed else []


def _odd_keys(row: Any, below: str = "") -> Iterator[str]:
    """Keys that YAML reads as something else than text, with their place."""
    for key, value in row.items() if isinstance(row, Mapping) else ():
        if isinstance(key, str):
            yield from _odd_keys(value, f"{below}.{key}")
        else:
            yield f"{below}.{key}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    number = isinstance(value, str) and _numeric(value)
    hint = " (text; a number such as 1e-3 is written 1.0e-3 in YAML)" if number else ""
    return (text if len(text) <= 120 else text[:117] + "...") + hint


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
