"""The import diagram: the rooms of the package in the layers of the import rules, and who really imports whom."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import grimp
import networkx as nx

PACKAGE = "ruri_kedro"
ROW, BOX, HEIGHT, GAP = 96, 116, 38, 22  # pixels: from layer to layer, and a box with the space beside it

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2430; text-anchor: middle; dominant-baseline: central; }
  rect { fill: #ede7f6; stroke: #7e57c2; rx: 6; }
  path { fill: none; stroke: #7e57c2; stroke-width: 1.2; opacity: .65; }
"""


def diagram(pyproject: Path) -> str:
    """SVG of the layers in `pyproject` (top imports from below) with the imports of the code as it is now.

    An arrow is left out where a chain of arrows says the same.
    """
    layers = layers_of(pyproject)
    places, width = _places(layers)
    height = ROW * (len(layers) - 1) + HEIGHT + 4
    boxes = [_box(room, *place) for room, place in places.items()]
    arrows = [_arrow(places[a], places[b]) for a, b in sorted(nx.transitive_reduction(imports(list(places))).edges)]
    parts = [f"<style>{STYLE}</style>", _MARKER, '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>']
    body = "\n".join([*parts, *arrows, *boxes])
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n{body}\n</svg>\n'


def layers_of(pyproject: Path) -> list[list[str]]:
    """Rooms by layer, the highest first, as the contract of the import linter has them."""
    contracts = tomllib.loads(pyproject.read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    rooms = [[room.strip() for room in layer.replace(":", "|").split("|")] for layer in layers]
    return list(filter(None, ([room for room in layer if room not in FILES] for layer in rooms)))


FILES = {"__main__", "settings", "pipeline_registry", "errors", "startup"}  # beside the rooms


def imports(rooms: Sequence[str]) -> nx.DiGraph:
    """Which room imports which, directly."""
    graph = _graph()
    found = nx.DiGraph()
    found.add_nodes_from(rooms)
    for importer in rooms:
        for imported in rooms:
            if importer != imported and graph.direct_import_exists(
                importer=f"{PACKAGE}.{importer}", imported=f"{PACKAGE}.{imported}", as_packages=True
            ):
                found.add_edge(importer, imported)
    return found


def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, cache_dir=None)


def _places(layers: Sequence[Sequence[str]]) -> tuple[dict[str, tuple[float, float]], int]:
    """Left upper corner of each box, the rows centred, and the width of the whole."""
    width = max(map(len, layers)) * (BOX + GAP) - GAP + 4
    places = {}
    for row, layer in enumerate(layers):
        left = (width - len(layer) * (BOX + GAP) + GAP) / 2
        places |= {room: (left + column * (BOX + GAP), 2 + row * ROW) for column, room in enumerate(layer)}
    return places, width


def _box(room: str, x: float, y: float) -> str:
    middle = f'x="{x + BOX / 2:g}" y="{y + HEIGHT / 2:g}"'
    return f'<rect x="{x:g}" y="{y:g}" width="{BOX}" height="{HEIGHT}"/><text {middle}>{escape(room)}</text>'


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    x0, y0, x1, y1 = start[0] + BOX / 2, start[1] + HEIGHT, end[0] + BOX / 2, end[1]
    if end[1] == start[1]:  # within a layer: from side to side
        side = BOX / 2 if x1 > x0 else -BOX / 2
        middle = start[1] + HEIGHT / 2
        return f'<path d="M{x0 + side:g},{middle:g} L{x1 - side:g},{middle:g}" marker-end="url(#tip)"/>'
    bend = (y1 - y0) * 0.5
    return (
        f'<path d="M{x0:g},{y0:g} C{x0:g},{y0 + bend:g} {x1:g},{y1 - bend:g} {x1:g},{y1 - 2:g}" '
        'marker-end="url(#tip)"/>'
    )


_MARKER = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" style="fill:#7e57c2;stroke:none;opacity:1"/></marker>'
)
