"""A digest of the package's own code, so that tables made by older code are not taken for current ones."""

from functools import cache
from pathlib import Path

from ruri_kedro.text.hashing import digest_all, stable_id

_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def code_digest(*rooms: str) -> str:
    """Digest of the source files of the given rooms, such as `code_digest("text", "corpora")`."""
    files = sorted(path for room in rooms for path in (_PACKAGE / room).rglob("*.py"))
    return digest_all(stable_id(path.relative_to(_PACKAGE).as_posix(), path.read_text("utf-8")) for path in files)
