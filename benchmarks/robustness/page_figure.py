"""A figure of the pages, and the parts that all of them share: a line for every method, some of them thick."""

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

HIGHLIGHTED = ("adversarial", "adversarial_weights", "forward_noise", "standard")

FEW = 5
"""Methods that are all highlighted."""


@dataclass(frozen=True)
class PageFigure:
    """A figure of every task that has data for it.

    Attributes:
        draw: (study, results) → the figure; None where there is nothing to draw.
        caption: of the figure, without the settings.
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
    """Every figure by name: each module of ``figures`` holds one in the variable ``page_figure``."""
    from . import figures as package

    found = {module.__name__.rpartition(".")[2]: module.page_figure for module in modules(package)}
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


@dataclass(frozen=True)
class Style:
    """The style of a method in one figure; colour and line are the same in all of them."""

    color: str
    line: plotting.Line
    label: str
    highlighted: bool


def styles(task: str, results: ResultsTable, *measurements: str) -> dict[str, Style]:
    """Every method's style, highlighted ones last, on top: those of ``HIGHLIGHTED`` and the best rival.

    Where there are few methods all are highlighted. Methods without any of the measurements are left out.
    """
    methods, rival = results.methods[task], results.best_rival(task)
    first = dict.fromkeys((HIGHLIGHTED[0], rival, *HIGHLIGHTED[1:]))
    chosen = [name for name in first if name in methods]
    if len(methods) <= FEW:
        chosen += [name for name in methods if name not in chosen]
    measured = {name for measurement in measurements for name in results.measured.get((task, measurement), ())}
    found = {}
    for place, name in enumerate([*(name for name in methods if name not in chosen), *reversed(chosen)]):
        color, line = plotting.method_style(str(name), place)
        label = f"{name} (best rival)" if name == rival else str(name)
        found[str(name)] = Style(color, line, label, name in chosen)
    return {name: style for name, style in found.items() if name in measured or not measurements}


def legend(figure: Figure, shown: Mapping[str, Style], more: Sequence[Line2D] = ()) -> None:
    """One for the whole figure, above it, highlighted methods first."""
    lines = [
        Line2D([], [], color=style.color, lw=2 if style.highlighted else 1, ls=style.line, label=style.label)
        for style in [*shown.values()][::-1]
    ]
    lines += more
    columns = min(len(lines), max(2, round(figure.get_figwidth() / 2)))
    figure.legend(handles=lines, loc="outside upper center", ncols=columns, frameon=False, fontsize=8.5)


def dash(style: plotting.Line, label: str) -> Line2D:
    """The entry of a legend for a kind of line."""
    return Line2D([], [], color="0.35", lw=1.4, ls=style, label=label)


def points_of(
    results: ResultsTable, task: str, method: str, measurement: str, metric: str
) -> list[tuple[float, Point]]:
    """(size of the level, number) of a measurement's levels, in their order."""
    found = [
        (size(level)[0], results.point(task, method, Place(measurement, level, metric)))
        for level in results.levels.get((task, measurement), ())
    ]
    return [(x, point) for x, point in found if point is not None]


def curve(ax: Axes, points: Sequence[tuple[float, Point]], style: Style, line: plotting.Line | None = None) -> None:
    """Means joined by a line, the method's own unless one is given."""
    if not points:
        return
    x, values = np.array([x for x, _ in points]), np.array([point.value for _, point in points])
    marks = "o" if len(x) < 9 else ""
    wide, mark = (1.8, 3.5) if style.highlighted else (0.9, 2.2)
    ax.plot(x, values, ls=line or style.line, marker=marks, color=style.color, ms=mark, lw=wide)


def dots(
    task: str, results: ResultsTable, columns: Mapping[str, Place], order: Sequence[str], only: Collection[str] = ()
) -> Figure | None:
    """A column for each place, a row for each method: the mean over its seeds and, as a line, all seeds.

    Args:
        task, results: the numbers. columns: places by title; those without a number are left out.
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
            color, y = shown[name].color, methods.index(name)
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
        label.set_color(shown[name].color)
    figure.supxlabel("balanced accuracy (each column has its own axis)", fontsize=9)
    return figure


def limits(ax: Axes, points: Sequence[Point], across: bool = False) -> None:
    """An axis of accuracies that holds all seeds, with some room."""
    values = [value for point in points for value in point if np.isfinite(value)]
    if values:
        room = max(0.08 * (max(values) - min(values)), 0.01)
        (ax.set_xlim if across else ax.set_ylim)(min(values) - room, max(values) + room)
