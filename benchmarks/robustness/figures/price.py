"""The price of robustness: time of a training step against accuracy on the worst die that was found."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from neurorobust.evaluation import STRONG

from ..page_figure import PageFigure, styles
from ..results_table import Place, Point, ResultsTable
from ..study import Study

LEVELS = ("0.05", "0.1")


def draw(study: Study, results: ResultsTable) -> Figure | None:
    """A dot for every method, named at the right."""
    task, shown = study.name, styles(study.name, results)
    found = {name: results.point(task, name, Place("price", "step", "ratio")) for name in shown}
    prices = {name: point.value for name, point in found.items() if point is not None}
    panels = {
        level: {
            name: point for name in prices if (point := results.point(task, name, Place("strong", level))) is not None
        }
        for level in LEVELS
    }
    panels = {level: points for level, points in panels.items() if len(points) > 1}
    if not panels:
        return None
    figure = Figure(figsize=(5 * len(panels), 3.9), layout="constrained")
    for ax, (level, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        places = {}
        for name, point in points.items():
            color = shown[name].color
            ax.plot([prices[name]] * 2, [point.low, point.high], color=color, lw=1.2, alpha=0.4)
            ax.plot(prices[name], point.value, "o", color=color, ms=5.5)
            places[name] = (prices[name], point.value, color)
        _axes(ax, level, list(points.values()))
        _names(ax, places)
    figure.axes[0].set_ylabel(f"balanced accuracy, {STRONG}")
    return figure


def _axes(ax: Axes, level: str, points: list[Point]) -> None:
    low, high = min(point.low for point in points), max(point.high for point in points)
    room = 0.06 * max(high - low, 0.05)
    ax.set(xscale="log", xlabel="time of a training step / standard", ylim=(low - room, high + room))
    ax.set_title(f"attacks of ζ = {level}", fontsize=10)
    left, right = ax.get_xlim()
    ax.set_xlim(left, right * 1.15)
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 3, 5, 10, 20, 50) if left <= tick <= right]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())


def _names(ax: Axes, places: dict[str, tuple[float, float, str]]) -> None:
    """Names in a column right of the axes, in the order of the dots, with a thin line to each."""
    order = sorted(places, key=lambda name: (places[name][1], -places[name][0]))
    bottom, top = ax.get_ylim()
    wanted = np.array([(places[name][1] - bottom) / (top - bottom) for name in order])
    for name, y in zip(order, apart(wanted, 0.05)):
        x, value, color = places[name]
        ax.annotate(
            name,
            (x, value),
            (1.1, y),
            textcoords="axes fraction",
            fontsize=8.5,
            color=color,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "lw": 0.5,
                "alpha": 0.5,
                "shrinkA": 0,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )


def apart(wanted: np.ndarray, gap: float) -> list[float]:
    """Increasing places, at least ``gap`` apart, near those wanted, below 1: clusters are spread about their middle."""
    groups: list[list[float]] = []
    for place in wanted:
        groups.append([float(place)])
        while len(groups) > 1 and _middle(groups[-1]) - _middle(groups[-2]) < gap * len(groups[-1] + groups[-2]) / 2:
            last = groups.pop()
            groups[-1] = groups[-1] + last
    places = [_middle(group) + gap * (i - (len(group) - 1) / 2) for group in groups for i in range(len(group))]
    return [min(place, 1 - gap * (len(places) - 1 - i)) for i, place in enumerate(places)]


def _middle(group: list[float]) -> float:
    return sum(group) / len(group)


page_figure = PageFigure(
    draw,
    "The price of robustness: CPU time of a training step, divided by that of a standard step",
    order=2,
    suffix="-price",
)
