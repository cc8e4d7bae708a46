"""A marker for folders of parts: every part is whole by itself, and the marker says that all of them are there.

Without it a table whose making was killed half way would be read as a smaller table by the next pipeline.
"""

from collections.abc import Iterable
from pathlib import Path

from ruri_kedro.tables.files import read_json, remove_leftovers, write_json

MANIFEST = "manifest.json"


def unmark(root: Path) -> None:
    """Declare the folder unfinished, before its parts are written."""
    (root / MANIFEST).unlink(missing_ok=True)


def mark(root: Path, parts: Iterable[str]) -> None:
    """Declare the folder finished: it has exactly these parts."""
    remove_leftovers(root / MANIFEST)
    write_json(root / MANIFEST, {"parts": sorted(parts)})


def marked_parts(root: Path) -> list[str] | None:
    """Names of the parts of a finished folder; None if it is not finished or a part has gone."""
    path = root / MANIFEST
    if not path.is_file():
        return None
    parts = read_json(path)["parts"]
    return parts if all((root / part / MANIFEST).is_file() for part in parts) else None
