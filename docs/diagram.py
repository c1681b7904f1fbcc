"""The modules and what they import, as an SVG in rows: whoever imports stands above what it imports.

A part is a module or a package directly inside neurorobust. Arrows that follow from others are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from html import escape
from itertools import combinations, pairwise

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 112, 30, 22, 34, 6
BEND = 14  # the room that a line needs in a row that it passes

Edge = tuple[str, str]


def edges(reach: Mapping[str, Collection[str]]) -> list[Edge]:
    """The fewest (importer, imported) pairs from which all the others follow.

    Args:
        reach: for each part all it may import, directly or not; free of cycles.
    """
    return [
        (part, below)
        for part, all_below in reach.items()
        for below in sorted(all_below)
        if not any(below in reach[other] for other in all_below if other != below)
    ]


def svg(reach: Mapping[str, Collection[str]], titles: Mapping[str, str], links: Mapping[str, str]) -> str:
    """The drawing, to be set inside a page: its colours are the page's.

    Args:
        reach: as for :func:`edges`. titles: for each part what the pointer shows over it. links: where its box leads.
    """
    pairs = edges(reach)
    rows = _rows(reach, pairs)
    chains = [_chain(pair, rows) for pair in pairs]
    order = _order(rows, chains)
    x = _places(order, _neighbours(chains))
    width = max(x[node] + _width(node) / 2 for row in order for node in row) + MARGIN
    height = len(order) * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    y = {node: height - MARGIN - HEIGHT - i * (HEIGHT + GAP_Y) for i, row in enumerate(order) for node in row}
    shapes = [_line(chain, x, y) for chain in chains]
    shapes += [_box(part, x[part], y[part], titles.get(part, ""), links[part]) for part in reach]
    return (
        f'<svg class="parts" viewBox="0 0 {width:.0f} {height:.0f}" role="group" xmlns="http://www.w3.org/2000/svg" '
        f'aria-label="Modules of neurorobust and their imports">\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _rows(reach: Mapping[str, Collection[str]], pairs: Iterable[Edge]) -> dict[str, int]:
    """The row of each part, from 0 at the bottom: as high as whoever imports it allows, so that lines stay short."""
    above: dict[str, list[str]] = {part: [] for part in reach}
    for part, below in pairs:
        above[below].append(part)
    depth: dict[str, int] = {}
    for part in sorted(reach, key=lambda p: -len(reach[p])):  # importers have a larger reach, so they come first
        depth[part] = max((depth[other] + 1 for other in above[part]), default=0)
    return {part: max(depth.values()) - d for part, d in depth.items()}


def _chain(pair: Edge, rows: Mapping[str, int]) -> list[str]:
    """The nodes of a line from the importer down: one bend, named ``part>below@row``, in every row between."""
    part, below = pair
    return [part, *(f"{part}>{below}@{row}" for row in range(rows[part] - 1, rows[below], -1)), below]


def _neighbours(chains: Iterable[list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            found.setdefault(one, []).append(other)
            found.setdefault(other, []).append(one)
    return found


def _order(rows: Mapping[str, int], chains: Iterable[list[str]]) -> list[list[str]]:
    """The nodes of every row from left to right, sorted by their neighbours' mean places until lines cross little."""
    chains = list(chains)
    row_of = dict(rows)
    for chain in chains:
        row_of |= {node: rows[chain[0]] - i for i, node in enumerate(chain)}
    order: list[list[str]] = [[] for _ in range(max(row_of.values()) + 1)]
    for node in sorted(row_of):
        order[row_of[node]].append(node)
    neighbours = _neighbours(chains)
    best, fewest = [list(row) for row in order], _crossings(order, chains)
    for sweep in range(24):
        indices = range(len(order)) if sweep % 2 else range(len(order) - 1, -1, -1)
        for i in indices:
            fixed = i - 1 if sweep % 2 else i + 1
            if 0 <= fixed < len(order):
                place = {node: k for k, node in enumerate(order[fixed])}
                own = {node: k for k, node in enumerate(order[i])}
                order[i].sort(key=lambda n: _mean([place[m] for m in neighbours.get(n, ()) if m in place], own[n]))
        crossings = _crossings(order, chains)
        if crossings < fewest:
            best, fewest = [list(row) for row in order], crossings
    return best


def _crossings(order: list[list[str]], chains: Iterable[list[str]]) -> int:
    place = {node: (i, k) for i, row in enumerate(order) for k, node in enumerate(row)}
    spans: dict[int, list[tuple[int, int]]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            spans.setdefault(place[one][0], []).append((place[one][1], place[other][1]))
    return sum((a - c) * (b - d) < 0 for lines in spans.values() for (a, b), (c, d) in combinations(lines, 2))


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _width(node: str) -> float:
    return BEND if "@" in node else WIDTH


def _places(order: list[list[str]], neighbours: Mapping[str, list[str]]) -> dict[str, float]:
    """The x of every node's middle: near its neighbours' mean, without overlap, in the order of its row."""
    x: dict[str, float] = {}
    for row in order:
        _pack(row, {node: 0.0 for node in row}, x)
    for _ in range(60):
        for row in [*order, *reversed(order)]:
            _pack(row, {node: _mean([x[m] for m in neighbours.get(node, ())], x[node]) for node in row}, x)
    left = min(x[node] - _width(node) / 2 for row in order for node in row)
    return {node: value - left + MARGIN for node, value in x.items()}


def _pack(row: list[str], wish: Mapping[str, float], x: dict[str, float]) -> None:
    """Middles in order, at least their widths and a gap apart, as near to the wishes as a pass from each side gets."""
    apart = [(_width(a) + _width(b)) / 2 + GAP_X for a, b in pairwise(row)]
    right = [wish[node] for node in row]
    for i, distance in enumerate(apart):
        right[i + 1] = max(right[i + 1], right[i] + distance)
    left = [wish[node] for node in row]
    for i in range(len(apart) - 1, -1, -1):
        left[i] = min(left[i], left[i + 1] - apart[i])
    x |= {node: (a + b) / 2 for node, a, b in zip(row, left, right)}


def _line(chain: list[str], x: Mapping[str, float], y: Mapping[str, float]) -> str:
    """A smooth line from the importer's foot to the imported part's head, straight down past the rows between."""
    path = f"M{x[chain[0]]:.1f} {y[chain[0]] + HEIGHT}"
    for above, node in pairwise(chain):
        dx = f"{x[node] - x[above]:.1f}"
        path += f"c0 {GAP_Y / 2:g} {dx} {GAP_Y / 2:g} {dx} {GAP_Y}"
        if "@" in node:
            path += f"v{HEIGHT}"
    return f'<path data-from="{chain[0]}" data-to="{chain[-1]}" d="{path}"/>'


def _box(part: str, x: float, y: float, title: str, link: str) -> str:
    return (
        f'<a href="{escape(link)}"><title>{escape(title)}</title>'
        f'<rect x="{x - WIDTH / 2:.1f}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<text x="{x:.1f}" y="{y + HEIGHT / 2 + 4.5}">{escape(part)}</text></a>'
    )
