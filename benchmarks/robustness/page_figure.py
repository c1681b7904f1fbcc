"""What a figure of the page is, and what all of them share: a line for every method, few of them in colour."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurorobust._util.discovery import modules
from neurorobust.viz import plotting

from .results_table import Place, Point, ResultsTable, size
from .study import Study

FEW = 5
"""Methods that are all drawn in colour."""

GREY = "#b5b5b5"


@dataclass(frozen=True)
class PageFigure:
    """A figure of every task that has data for it.

    Attributes:
        draw: (study, results) → the figure; None where there is nothing to draw.
        caption: what is seen.
        above: measurements above whose tables it stands; the first page, if there are none.
        order: on the page.
        suffix: of its file, after the name of the task.
    """

    draw: Callable[[Study, ResultsTable], Figure | None]
    caption: str
    above: tuple[str, ...] = ()
    order: int = 1
    suffix: str = ""


def all_figures() -> dict[str, PageFigure]:
    """Every figure by name: each module of ``drawings`` holds one in the variable ``drawing``."""
    from . import figures as package

    found = {module.__name__.rpartition(".")[2]: module.page_figure for module in modules(package)}
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


@dataclass(frozen=True)
class Style:
    """How a method is drawn."""

    color: str = GREY
    label: str = ""
    band: bool = False

    @property
    def highlighted(self) -> bool:
        """Whether it has a colour of its own."""
        return bool(self.label)


def styles(task: str, results: ResultsTable, *measurements: str) -> dict[str, Style]:
    """Every method's style, those in colour last, on top: beta, the best rival, the published beta and standard; all
    where there are few. A role has the same colour everywhere; methods without any of the measurements are left out."""
    methods, rival = results.methods[task], results.best_rival(task)
    roles = dict(zip(("adversarial", rival, "adversarial_weights", "standard"), plotting.COLORS))
    told = [name for name in roles if name in methods]
    if len(methods) <= FEW:
        spare = [color for color in plotting.COLORS if color not in {roles[name] for name in told}]
        roles |= dict(zip((name for name in methods if name not in told), spare))
        told = [name for name in roles if name in methods]
    found = {name: Style() for name in methods if name not in told}
    for name in reversed(told):
        label = f"{name} (best rival)" if name == rival else str(name)
        found[str(name)] = Style(roles[name], label, band=name in ("adversarial", rival))
    drawn = {name for measurement in measurements for name in results.measured.get((task, measurement), ())}
    return {name: style for name, style in found.items() if name in drawn or not measurements}


def legend(figure: Figure, shown: Mapping[str, Style], more: Sequence[Line2D] = ()) -> None:
    """One for the whole figure, above it."""
    lines = [
        Line2D([], [], color=style.color, lw=2, label=style.label) for style in shown.values() if style.highlighted
    ][::-1]
    others = sum(not style.highlighted for style in shown.values())
    if others:
        lines.append(Line2D([], [], color=GREY, lw=1.2, label=f"{others} other method{'s' * (others > 1)}"))
    lines += more
    columns = min(len(lines), 4 if figure.get_figwidth() < 8 else 7)
    figure.legend(handles=lines, loc="outside upper center", ncols=columns, frameon=False, fontsize=8.5)


def dash(style: str, label: str) -> Line2D:
    """A legend's word for a kind of line."""
    return Line2D([], [], color="0.35", lw=1.4, ls=style, label=label)


def points_of(
    results: ResultsTable, task: str, method: str, measurement: str, metric: str
) -> list[tuple[float, Point]]:
    """(size of the level, number) of an measurement's levels, in their order."""
    found = [
        (size(level)[0], results.point(task, method, Place(measurement, level, metric)))
        for level in results.levels.get((task, measurement), ())
    ]
    return [(x, point) for x, point in found if point is not None]


def curve(ax: Axes, points: Sequence[tuple[float, Point]], style: Style, line: str = "-") -> None:
    """Means joined by a line, and the band of the intervals behind those that have one."""
    if not points:
        return
    x, values, low, high = (np.array(column) for column in zip(*((x, *point) for x, point in points)))
    marks = "o" if len(x) < 9 else ""
    wide = 1.8 if style.highlighted else 0.9
    ax.plot(x, values, line, marker=marks, color=style.color, ms=3.5 if style.highlighted else 2.2, lw=wide)
    if style.band and line == "-":
        ax.fill_between(x, low, high, color=style.color, alpha=0.15, lw=0)


def dots(
    task: str, results: ResultsTable, columns: Mapping[str, Place], order: Sequence[str], only: Collection[str] = ()
) -> Figure | None:
    """A column for each place, a row for each method, with its interval.

    Args:
        task, results: whose numbers. columns: places by title; those without a number are left out.
        order: titles by whose sum methods are sorted, the largest on top. only: these methods; all by default.
    """
    shown, methods = styles(task, results), [name for name in results.methods[task] if not only or name in only]
    filled = {
        title: {name: point for name in methods if (point := results.point(task, name, place)) is not None}
        for title, place in columns.items()
    }
    filled = {title: points for title, points in filled.items() if points}
    if not filled or len(methods) < 2:
        return None
    worst = [filled.get(title, {}) for title in order]
    methods.sort(key=lambda name: sum(points[name].value for points in worst if name in points))
    figure = Figure(figsize=(10, 0.9 + 0.23 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(filled), sharey=True, squeeze=False)[0]
    for ax, (title, points) in zip(axes, filled.items()):
        for name, point in points.items():
            color, y = shown[name].color if shown[name].highlighted else "0.45", methods.index(name)
            ax.plot([point.low, point.high], [y, y], color=color, lw=1.6, alpha=0.6, solid_capstyle="butt")
            ax.plot(point.value, y, "o", color=color, ms=5)
        limits(ax, list(points.values()), across=True)
        ax.set_title(title, fontsize=9.5)
        ax.grid(axis="y", visible=False)
        ax.tick_params(labelsize=8.5)
        ax.locator_params(axis="x", nbins=3 if len(filled) < 7 else 2)
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].set_ylim(-0.6, len(methods) - 0.4)
    for label, name in zip(axes[0].get_yticklabels(), methods):
        label.set_color(shown[name].color if shown[name].highlighted else "0.25")
    figure.supxlabel("balanced accuracy (each column has its own axis)", fontsize=9)
    return figure


def limits(ax: Axes, points: Sequence[Point], across: bool = False) -> None:
    """An axis of accuracies that wide intervals do not stretch: the means, with some room."""
    values = [point.value for point in points if np.isfinite(point.value)]
    if values:
        room = max(0.08 * (max(values) - min(values)), 0.01)
        (ax.set_xlim if across else ax.set_ylim)(min(values) - room, max(values) + room)
