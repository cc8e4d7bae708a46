"""A training set on disk: made of blocks of examples, mapped by every process, found again by a killed run.

So what is in memory does not grow with the examples. A row with one negative takes about 130 bytes on disk, and its
tokens four each.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from ruri_kedro.models.token_cache import TokenCache
from ruri_kedro.models.tokens import TokenRows
from ruri_kedro.recipe.objectives import Group, group_name
from ruri_kedro.tables.checksums import facts_of, is_current, write_manifest
from ruri_kedro.tables.files import replace_dir
from ruri_kedro.training.data import TrainingSet

# File and type of each array; by row of the set, then by row of the tokens.
_BY_ROW = {"texts": np.int64, "identities": np.int64, "groups": np.int64, "teacher": np.float32,
           "labels": np.float32}  # fmt: skip
_BY_TEXT = {"places": np.int32, "starts": np.int64, "lengths": np.int32}
_IDS = pa.schema([("example_id", pa.string())])


@dataclass(frozen=True)
class Shape:
    """What is known of a set before its rows are read."""

    groups: Sequence[Group]
    width: int  # c of TrainingSet


def stored_set(
    folder: Path, key: str, shape: Shape, cache: TokenCache, blocks: Callable[[], Iterable[TrainingSet]]
) -> TrainingSet:
    """The set in `folder` if it was made with `key`, whole, and its tokens are still there, else that of `blocks()`.

    A block's tokens are rows of `cache`.
    """
    if not (is_current(folder, key) and cache.has(facts_of(folder)["tokens"])):
        with replace_dir(folder) as aside:
            with _Writer(aside, shape) as writer:
                for block in blocks():
                    writer.add(block)
            write_manifest(aside, {"key": key, "tokens": cache.files, **writer.special})
    return _open(folder, shape, cache)


class _Writer:
    """Appends blocks to the files of a set."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self._folder, self._shape = folder, shape
        self._numbers = {group_name(group): number for number, group in enumerate(shape.groups)}
        self._texts = 0
        self.special: dict[str, list[int]] = {}

    def __enter__(self) -> "_Writer":
        with ExitStack() as stack:
            names = (*_BY_ROW, *_BY_TEXT)
            self._files = {name: stack.enter_context((self._folder / name).open("wb")) for name in names}
            sink = stack.enter_context(pa.OSFile(str(self._folder / "ids.arrow"), "wb"))
            self._ids = stack.enter_context(pa.ipc.new_file(sink, _IDS))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: type | BaseException | TracebackType | None) -> None:
        self._stack.__exit__(*error)

    def add(self, block: TrainingSet) -> None:
        """Write a block behind the others: its texts and groups get the numbers of the whole set."""
        width, tokens = self._shape.width, block.tokens
        groups = np.array([self._numbers[name] for name in block.group_names], np.int64)
        self._write("texts", _wider(np.where(block.texts < 0, -1, block.texts + self._texts), width, -1))
        self._write("identities", _wider(block.identities, width, -1))
        self._write("groups", groups[block.groups])
        self._write("labels", block.labels)
        if block.teacher is not None:
            self._write("teacher", _wider(block.teacher, width - 1, np.nan))
        for name in _BY_TEXT:
            self._write(name, getattr(tokens, name))
        self._ids.write_batch(pa.record_batch([pa.array(block.example_ids, pa.string())], schema=_IDS))
        self._texts += len(tokens.lengths)
        self.special = {"before": tokens.before.tolist(), "after": tokens.after.tolist()}

    def _write(self, name: str, values: np.ndarray) -> None:
        self._files[name].write(np.ascontiguousarray(values, (_BY_ROW | _BY_TEXT)[name]).data)


def _wider(values: np.ndarray, width: int, empty: float) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=empty)


def _open(folder: Path, shape: Shape, cache: TokenCache) -> TrainingSet:
    about = facts_of(folder)

    def mapped(name: str, columns: int | None = None) -> np.ndarray:
        values = np.asarray(np.memmap(folder / name, (_BY_ROW | _BY_TEXT)[name], "r"))
        return values if columns is None else values.reshape(-1, columns)

    before, after = (np.array(about[side], np.int32) for side in ("before", "after"))
    places, starts, lengths = map(mapped, _BY_TEXT)
    return TrainingSet(
        tokens=TokenRows(cache.arrays(about["tokens"]), places, starts, lengths, before, after),
        texts=mapped("texts", shape.width),
        identities=mapped("identities", shape.width),
        groups=mapped("groups"),
        group_names=[group_name(group) for group in shape.groups],
        objectives=[objective for _, objective in shape.groups],
        example_ids=_Ids(pa.ipc.open_file(pa.memory_map(str(folder / "ids.arrow"))).read_all()["example_id"]),
        teacher=mapped("teacher", shape.width - 1) if (folder / "teacher").stat().st_size else None,
        labels=mapped("labels"),
    )


class _Ids(Sequence[str]):
    """Ids of examples, decoded when they are asked for."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: int) -> str:
        return self._column[int(row)].as_py()
