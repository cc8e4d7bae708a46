"""What was written is what is read: checksums of files, kept in a manifest that has one of itself."""

import errno
import json
import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import xxhash

from ruri_kedro.errors import DamagedError
from ruri_kedro.tables.files import read_json, write_json
from ruri_kedro.text.hashing import digest_json

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_FILES, _CHECK = "files", "check"  # keys of a manifest: checksums of files, and that of the manifest itself
_BLOCK = 1 << 20

Checksums = dict[str, dict[str, Any]]


def checksum(path: Path) -> dict[str, Any]:
    """Size and XXH3 of a file. A file that is as it was when this process last read it is not read again."""
    found = path.stat()
    return {"size": found.st_size, "xxh3": _xxh3(path, found.st_size, found.st_mtime_ns, found.st_ino)}


@lru_cache(maxsize=1 << 16)
def _xxh3(path: Path, *_: int) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def checksums(folder: Path) -> Checksums:
    """Size and XXH3 of every file below a folder, by relative path, sorted."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum(path) for path in files}


def fault_in(folder: Path, files: Mapping[str, Mapping[str, Any]], sizes_only: bool = False) -> str | None:
    """What is wrong with the first of the files that is not what its checksum says; None where all are."""
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            return f"{path}: the file is missing"
        if (size := path.stat().st_size) != entry["size"]:
            return f"{path}: {size} bytes where {entry['size']} were written, so the file is damaged"
        if not sizes_only and _read_checksum(path) != entry["xxh3"]:
            return f"{path}: not the bytes that were written, so the file is damaged"
    return None


def _read_checksum(path: Path) -> str | None:
    """The XXH3 of a file; None where the disk does not give it."""
    try:
        return checksum(path)["xxh3"]
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None


def write_checked(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON object and its checksum, replaced whole."""
    value = json.loads(json.dumps(value))
    write_json(path, {**value, _CHECK: digest_json(value)})


def read_checked(path: Path) -> dict[str, Any]:
    """What `write_checked` wrote; raises DamagedError where it is damaged. What 0.1 wrote has no checksum."""
    value = read_json(path)
    if not isinstance(value, dict) or value.pop(_CHECK, None) not in (None, digest_json(value)):
        raise DamagedError(f"{path}: not what was written, so the file is damaged", remedy(path.parent))
    return value


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Say what is in a folder, and the checksums of all of its files. The last thing that is written into it."""
    write_checked(folder / MANIFEST, {**facts, _FILES: checksums(folder)})


def facts_of(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says but for checksums, which may differ where the content is the same."""
    return {name: value for name, value in read_checked(folder / MANIFEST).items() if name != _FILES}


def fault_of(folder: Path, sizes_only: bool = False) -> str | None:
    """What is wrong with a folder that has a manifest, or with the manifest; None where nothing is."""
    if not (folder / MANIFEST).is_file():
        return f"{folder / MANIFEST}: the file is missing"
    try:
        files = read_checked(folder / MANIFEST).get(_FILES, {})
    except DamagedError as error:
        return error.fault
    return fault_in(folder, files, sizes_only)


def is_current(folder: Path, key: str, sizes_only: bool = False) -> bool:
    """Whether an index or the like with this key is there, whole. A warning is given of one that is damaged."""
    if not (folder / MANIFEST).exists():
        return False
    fault = fault_of(folder, sizes_only)
    if fault is None:
        return read_checked(folder / MANIFEST).get("key") == key
    logger.warning("%s. %s is made again.", fault, folder)
    return False


def check_folders(folders: Iterable[Path]) -> None:
    """Raise DamagedError for the first folder whose files are not those that its manifest says."""
    for folder in folders:
        if fault := fault_of(folder):
            raise DamagedError(fault, remedy(folder))


def remedy(folder: Path) -> str:
    """What to do about damage in a folder that was made."""
    return f"Remove the folder {folder} and run the pipeline that makes it, or restore it."
