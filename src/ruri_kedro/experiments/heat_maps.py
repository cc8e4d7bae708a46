"""Heat maps of two searched settings as one SVG, which stands in pages and beside their Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_CELL, _ROW, _LABEL, _GAP = 58, 24, 76, 28  # pixels: width and height of a cell, width of a row's name, between maps
_LETTER = 8  # pixels: of a title
_ACROSS = 4  # maps beside each other
_GREEN = "#347855"


@dataclass(frozen=True)
class HeatMap:
    """The figure of the development set by two settings, for one group."""

    title: str
    rows: tuple[str, ...]  # values of the first setting
    columns: tuple[str, ...]  # values of the second one
    values: tuple[tuple[float | None, ...], ...]  # by row and column; None where there is no cell

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return max(_LABEL + _CELL * len(self.columns), _LETTER * len(self.title)), _ROW * (len(self.rows) + 2)

    def shade(self, value: float | None) -> float:
        """0 for the lowest value of the map, 1 for the highest."""
        known = [number for row in self.values for number in row if number is not None]
        low, high = min(known), max(known)
        return 0.0 if value is None or high == low else (value - low) / (high - low)

    def elements(self) -> Iterator[str]:
        """Title, names and cells as elements of SVG; the darker a cell, the higher its figure."""
        yield _text(0, 0, self.title, "start", bold=True)
        for column, name in enumerate(self.columns, start=1):
            yield _text(_LABEL + _CELL * column - 6, 1, name)
        for row, (name, values) in enumerate(zip(self.rows, self.values, strict=True), start=2):
            yield _text(_LABEL - 8, row, name)
            for column, value in enumerate(values):
                left, shade = _LABEL + _CELL * column, 0.05 + 0.75 * self.shade(value)
                yield (
                    f'<rect x="{left}" y="{_ROW * row}" width="{_CELL}" height="{_ROW}" fill="{_GREEN}" '
                    f'fill-opacity="{shade:.2f}"/>'
                )
                yield _text(left + _CELL - 6, row, "-" if value is None else f"{value:.2f}")


def heat_map_sheet(maps: Sequence[HeatMap]) -> str:
    """All maps as one SVG, so many beside each other; each map has a scale of its own."""
    width, height = (max((each.size[side] for each in maps), default=1) + _GAP for side in (0, 1))
    across = min(_ACROSS, max(1, len(maps)))
    down = -(-len(maps) // across)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * across}" height="{max(1, height * down)}" '
        'font-family="sans-serif" font-size="12">'
    ]
    for number, each in enumerate(maps):
        left, top = width * (number % across), height * (number // across)
        parts.append(f'<g transform="translate({left} {top})">{"".join(each.elements())}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: int, row: int, text: str, anchor: str = "end", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{_ROW * row + 16}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
