"""Charts as SVG, the same bytes for the same chart, and pictures that lie beside a Markdown page."""

import base64
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
_NAME = re.compile(r"[\w-]+\.(?:svg|png)")


def svg_of(figure: "Figure") -> str:
    """A Matplotlib figure as SVG, without the date and with ids that do not change."""
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.hashsalt": "ruri-kedro"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def data_address(name: str, folder: Path | None) -> str | None:
    """A picture of that name in a folder as an address that holds it; None where it is none, or elsewhere."""
    if folder is None or not _NAME.fullmatch(name) or not (path := folder / name).is_file():
        return None
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
