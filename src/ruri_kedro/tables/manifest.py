"""The SHA-256 of every file of a folder, and what differs from it later."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.tables.store import file_digest


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file below `folder`, by relative path, sorted."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": file_digest(path)}
        for path in files
    }


def irregular_entries(folder: Path) -> Iterator[str]:
    """Whatever stands in a folder and is neither a file nor a folder, a text each; links are not followed."""
    for parent, names, files in os.walk(folder):
        for name in sorted([*names, *files]):
            path = Path(parent) / name
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                what = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
                yield f"{path.relative_to(folder).as_posix()} is {what}"


def differing_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with the files that `describe_files` named, a text each; nothing where all are as they were."""
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif (size := path.stat().st_size) != entry["size"]:
            yield f"{name} has {size} bytes, not {entry['size']}"
        elif (digest := file_digest(path)) != entry["sha256"]:
            yield f"{name} has SHA-256 {digest[:12]}, not {entry['sha256'][:12]}"
