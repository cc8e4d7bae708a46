"""Files that a failing disk has changed: one bit, or the end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random


@contextmanager
def flipped(path: Path, rng: Random) -> Iterator[None]:
    """The file with one bit of it turned; as it was behind the block, if it is still there."""
    with _changed(path, lambda data: _with_bit(data, rng.randrange(8 * len(data)))):
        yield


@contextmanager
def cut(path: Path, share: float) -> Iterator[None]:
    """The first share of the file; the whole behind the block, if it is still there."""
    with _changed(path, lambda data: data[: int(len(data) * share)]):
        yield


def _with_bit(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@contextmanager
def _changed(path: Path, change) -> Iterator[None]:
    whole = path.read_bytes()
    _write(path, change(whole))
    try:
        yield
    finally:
        if path.exists():
            _write(path, whole)


_written = 0


def _write(path: Path, data: bytes) -> None:
    """Into the same file, as a disk does it. Its time is another each time: writes of a test follow close."""
    global _written
    with path.open("r+b") as handle:
        handle.write(data)
        handle.truncate()
    _written += 1
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000 * _written))
