"""Whole or not at all: write beside, then rename."""

import fcntl
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruri_kedro.errors import DataError

logger = logging.getLogger(__name__)

_ASIDE = ".writing-"


@contextmanager
def replace_dir(target: Path) -> Iterator[Path]:
    """A new directory beside `target` that takes its place when the block ends without an error.

    A killed process leaves only a directory whose name starts with a dot, which nothing reads and the next
    write removes.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    aside = target.parent / f"{_ASIDE}{target.name}-{uuid.uuid4().hex[:8]}"
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
    """The JSON value in `path`."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def remove_leftovers(target: Path) -> None:
    """Remove what killed writers of `target` left beside it."""
    for leftover in target.parent.glob(f"{_ASIDE}{target.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def move_dir(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`. A directory that is there already steps aside first and is then removed."""
    _sync_files(aside)
    if not target.exists():
        os.rename(aside, target)
        return
    old = target.parent / f"{_ASIDE}{target.name}-old-{uuid.uuid4().hex[:8]}"
    os.rename(target, old)
    os.rename(aside, target)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def sole_user(folder: Path, busy: Exception) -> Iterator[None]:
    """Raises `busy` where another process holds `folder` by this; a process that is killed holds nothing."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        except OSError as error:  # a file system without locks
            logger.warning("%s cannot be locked (%s): start no other run that uses it.", folder, error)
        yield


def _sync_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
