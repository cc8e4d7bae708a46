"""export.json: which engine a folder was written for, how documents stand in it, and what they were made of."""

from pathlib import Path
from typing import Any

from ruri_kedro.errors import DataError
from ruri_kedro.search.vector_stores.documents import Layout
from ruri_kedro.tables.files import read_json

MANIFEST = "export.json"
FORMAT = 1


def read_export(folder: Path) -> tuple[str, Layout, dict[str, Any]]:
    """The engine that a folder was written for, the layout, and what it was made of; DataError for another folder."""
    path = Path(folder) / MANIFEST
    if not path.exists():
        raise DataError(f"{folder}: there is no {MANIFEST}, so nothing was exported to it. Name another folder.")
    found = read_json(path)
    if found["format"] != FORMAT:
        raise DataError(f"{path}: format {found['format']}, not {FORMAT}. Export it again.")
    facts = {key: value for key, value in found.items() if key not in ("format", "to", "documents", "layout")}
    return found["to"], Layout(**found["layout"]), facts
