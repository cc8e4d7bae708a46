"""Tables and times for people: rows of cells in Markdown or aligned for a terminal, seconds in words."""

from collections.abc import Iterable, Sequence
from typing import Any


def markdown_table(header: Sequence[Any], rows: Iterable[Sequence[Any]], left: int | None = None) -> str:
    """A table without a line break at its end; columns from number `left` on stand right (None: none of them)."""
    marks = ["---" if left is None or number < left else "---:" for number in range(len(header))]
    return "\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in (header, marks, *rows))


def aligned(rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """Rows as columns two spaces apart; the first `left` columns stand left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join("  ".join(_padded(row, widths, left)).rstrip() + "\n" for row in rows)


def duration(seconds: float) -> str:
    """A time as a person says it: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _escaped(cell: Any) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")


def _padded(row: Sequence[str], widths: Sequence[int], left: int) -> list[str]:
    cells = zip(row, widths, strict=True)
    return [cell.ljust(width) if number < left else cell.rjust(width) for number, (cell, width) in enumerate(cells)]
