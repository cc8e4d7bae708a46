"""Whole or not at all, by one process at a time: write beside, then rename, under a lock of the operating system."""

import glob
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ruri_kedro.errors import DamagedError, DataError

logger = logging.getLogger(__name__)

_ASIDE = ".writing-"
UNFINISHED = ".unfinished-"  # before the name of a folder that a killed call goes on with
_LOCK = ".lock-"


@contextmanager
def replace_dir(target: Path) -> Iterator[Path]:
    """A new directory beside `target` that takes its place when the block ends without an error.

    A killed process leaves only a directory whose name starts with a dot, which nothing reads and the next
    write removes. Several processes may replace the same target: each writes beside it for itself.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    aside = target.parent / f"{_ASIDE}{target.name}-{uuid.uuid4().hex[:8]}"
    with sole_user(aside):  # what another process takes for left over is locked
        aside.mkdir()
        try:
            yield aside
            move_dir(aside, target)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def new_folder(target: Path) -> Path:
    """`target`, for `replace_dir`, whose name is of the user's choice; DataError where something is there already."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{target} is there already and is not empty. Name another folder.")
    return target


@contextmanager
def replace_file(target: Path) -> Iterator[Path]:
    """A path beside `target` whose file takes its place when the block ends without an error."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f"{_ASIDE}{target.name}-{uuid.uuid4().hex[:8]}"
    try:
        yield aside
        _sync(aside)
        os.replace(aside, target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_json(target: Path, value: Any) -> None:
    """`value` as indented UTF-8 JSON, replaced whole."""
    with replace_file(target) as aside:
        aside.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The JSON value in `path`; raises DamagedError where it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise DamagedError(
            f"{path}: not JSON ({error}), so the file is damaged", "Remove or restore it and run the same again."
        ) from error


def remove_leftovers(target: Path) -> None:
    """Remove what killed writers of `target` left beside it; what a living process writes stays."""
    _remove_leftovers(target.parent, glob.escape(target.name), re.escape(target.name))


def remove_leftover_dirs(folder: Path) -> None:
    """Remove what killed writers left in a folder in which every directory is written by `replace_dir`."""
    _remove_leftovers(folder, "*", ".+")


def _remove_leftovers(folder: Path, pattern: str, name: str) -> None:
    names = re.compile(rf"(?:{re.escape(_LOCK)})?({re.escape(_ASIDE)}{name}-(?:old-)?[0-9a-f]{{8}})")
    found = (names.fullmatch(path.name) for path in folder.glob(f"*{_ASIDE}{pattern}-*"))
    for leftover in {folder / match[1] for match in found if match}:
        with suppress(_InUse), sole_user(leftover, _InUse()):
            shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def move_dir(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`. A directory that is there already steps aside first and is then removed."""
    _sync_files(aside)
    old = target.parent / f"{_ASIDE}{target.name}-old-{uuid.uuid4().hex[:8]}"
    with sole_user(target.parent / f".moving-{target.name}"):
        if target.exists():
            os.rename(target, old)
        os.rename(aside, target)
    shutil.rmtree(old, ignore_errors=True)


class _InUse(Exception):
    """A living process holds it."""


@contextmanager
def sole_user(target: Path, busy: Exception | None = None, mark: str = _LOCK) -> Iterator[None]:
    """Keeps other processes from `target`, a file or a folder, as long as the block lasts.

    Raises `busy` where another one is at it; without `busy` waits for its end. The lock is a file beside `target`,
    its name with `mark` before it, and is gone with the block. A process that is killed holds nothing. A file system
    without locks is warned of, and keeps nobody away.
    """
    path = target.parent / f"{mark}{target.name}"
    lock = FileLock(path, timeout=-1 if busy is None else 0, fallback_to_soft=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise busy from error
    except OSError as error:
        _warn_of_no_locks(target.parent, str(error))
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows removes it when it is released
                path.unlink()
            lock.release()


def sole_writer(target: Path) -> AbstractContextManager[None]:
    """`sole_user` for what is stored at `target`; raises DataError where another run writes it."""
    return sole_user(
        target,
        DataError(f"{target}: another run is writing it. Wait for its end, or give this one a recipe of its own."),
    )


@cache
def _warn_of_no_locks(folder: Path, reason: str) -> None:
    logger.warning("%s: nothing can be locked here (%s). Start no other run that uses it.", folder, reason)


def _sync_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)


def _sync(path: Path) -> None:
    with path.open("r+b" if os.name == "nt" else "rb") as handle:  # Windows syncs only what is open for writing
        os.fsync(handle.fileno())
