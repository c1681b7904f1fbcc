"""What a figure of the page is, and what all of them share: a line for every method, few of them in colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .. import plotting
from ..discovery import modules
from .book import Book, Place, Point, size
from .study import Study

FEW = 5
"""Methods that are all drawn in colour."""

GREY = "#b5b5b5"


@dataclass(frozen=True)
class Drawing:
    """A figure of every task that has data for it.

    Attributes:
        draw: (study, book) → the figure; None where there is nothing to draw.
        caption: what is seen.
        above: evaluations above whose tables it stands; the first page, if there are none.
        order: on the page.
        suffix: of its file, after the name of the task.
    """

    draw: Callable[[Study, Book], Figure | None]
    caption: str
    above: tuple[str, ...] = ()
    order: int = 1
    suffix: str = ""


def all_drawings() -> dict[str, Drawing]:
    """Every figure by name: each module of ``drawings`` holds one in the variable ``drawing``."""
    from . import drawings as package

    found = {module.__name__.rpartition(".")[2]: module.drawing for module in modules(package)}
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


@dataclass(frozen=True)
class Style:
    """How a method is drawn."""

    color: str = GREY
    label: str = ""
    band: bool = False

    @property
    def told(self) -> bool:
        """Whether it has a colour of its own."""
        return bool(self.label)


def styles(task: str, book: Book, *evaluations: str) -> dict[str, Style]:
    """Every method's style, those in colour last, on top: beta, the best rival, the published beta and standard; all
    where there are few. A role has the same colour everywhere; methods without any of the evaluations are left out."""
    methods, rival = book.methods[task], book.best_rival(task)
    roles = dict(zip(("beta", rival, "beta_weights", "standard"), plotting.COLORS))
    told = [name for name in roles if name in methods]
    if len(methods) <= FEW:
        spare = [color for color in plotting.COLORS if color not in {roles[name] for name in told}]
        roles |= dict(zip((name for name in methods if name not in told), spare))
        told = [name for name in roles if name in methods]
    found = {name: Style() for name in methods if name not in told}
    for name in reversed(told):
        label = f"{name} (best rival)" if name == rival else str(name)
        found[str(name)] = Style(roles[name], label, band=name in ("beta", rival))
    drawn = {name for evaluation in evaluations for name in book.measured.get((task, evaluation), ())}
    return {name: style for name, style in found.items() if name in drawn or not evaluations}


def legend(figure: Figure, shown: Mapping[str, Style], more: Sequence[Line2D] = ()) -> None:
    """One for the whole figure, above it."""
    lines = [Line2D([], [], color=style.color, lw=2, label=style.label) for style in shown.values() if style.told][::-1]
    others = sum(not style.told for style in shown.values())
    if others:
        lines.append(Line2D([], [], color=GREY, lw=1.2, label=f"{others} other method{'s' * (others > 1)}"))
    lines += more
    columns = min(len(lines), 4 if figure.get_figwidth() < 8 else 7)
    figure.legend(handles=lines, loc="outside upper center", ncols=columns, frameon=False, fontsize=8.5)


def dash(style: str, label: str) -> Line2D:
    """A legend's word for a kind of line."""
    return Line2D([], [], color="0.35", lw=1.4, ls=style, label=label)


def points_of(book: Book, task: str, method: str, evaluation: str, metric: str) -> list[tuple[float, Point]]:
    """(size of the level, number) of an evaluation's levels, in their order."""
    found = [
        (size(level)[0], book.point(task, method, Place(evaluation, level, metric)))
        for level in book.levels.get((task, evaluation), ())
    ]
    return [(x, point) for x, point in found if point is not None]


def curve(ax: Axes, points: Sequence[tuple[float, Point]], style: Style, line: str = "-") -> None:
    """Means joined by a line, and the band of the intervals behind those that have one."""
    if not points:
        return
    x, values, low, high = (np.array(column) for column in zip(*((x, *point) for x, point in points)))
    marks = "o" if len(x) < 9 else ""
    wide = 1.8 if style.told else 0.9
    ax.plot(x, values, line, marker=marks, color=style.color, ms=3.5 if style.told else 2.2, lw=wide)
    if style.band and line == "-":
        ax.fill_between(x, low, high, color=style.color, alpha=0.15, lw=0)


def limits(ax: Axes, points: Sequence[Point], across: bool = False) -> None:
    """An axis of accuracies that wide intervals do not stretch: the means, with some room."""
    values = [point.value for point in points if np.isfinite(point.value)]
    if values:
        room = max(0.08 * (max(values) - min(values)), 0.01)
        (ax.set_xlim if across else ax.set_ylim)(min(values) - room, max(values) + room)
