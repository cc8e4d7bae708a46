"""A marker for folders of parts: every part is whole by itself, and the marker says that all of them are there.

Without it a table whose making was killed half way would be read as a smaller table by the next pipeline.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from ruri_kedro.errors import DamagedError
from ruri_kedro.tables.checksums import MANIFEST, read_checked, write_checked
from ruri_kedro.tables.files import remove_leftovers

logger = logging.getLogger(__name__)


def unmark(root: Path) -> None:
    """Declare the folder unfinished, before its parts are written."""
    (root / MANIFEST).unlink(missing_ok=True)


def mark(root: Path, parts: Iterable[str]) -> None:
    """Declare the folder finished: it has exactly these parts."""
    remove_leftovers(root / MANIFEST)
    write_checked(root / MANIFEST, {"parts": sorted(parts)})


def marked_parts(root: Path) -> list[str] | None:
    """Names of the parts of a finished folder; None if it is not finished, or a part or the marker has gone."""
    path = root / MANIFEST
    if not path.is_file():
        return None
    try:
        parts = read_checked(path)["parts"]
    except DamagedError as error:
        logger.warning("%s. The folder counts as unfinished.", error.fault)
        return None
    return parts if all((root / part / MANIFEST).is_file() for part in parts) else None
