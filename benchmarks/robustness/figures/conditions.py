"""Conditions of a chip besides mismatch: few bits, drift, dead neurons, noise on the membranes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..page_figure import PageFigure, curve, legend, limits, points_of, styles
from ..record import SCORE
from ..results_table import ResultsTable, size
from ..study import Study

PANELS = {
    "bits": ("bits of a weight", SCORE),
    "drift": ("time after programming (pcm)", f"{SCORE} mean"),
    "death": ("fraction of dead neurons", f"{SCORE} mean"),
    "membrane_noise": ("membrane noise / threshold", f"{SCORE} mean"),
}


def draw(study: Study, results: ResultsTable) -> Figure | None:
    """A panel for each condition that was measured."""
    panels = [name for name in PANELS if results.has(study.name, name)]
    if not panels:
        return None
    shown = styles(study.name, results, *panels)
    figure = Figure(figsize=(max(4.5, 2.75 * len(panels)), 3.3), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        label, metric = PANELS[name]
        lines = {method: points_of(results, study.name, method, name, metric) for method in shown}
        for method, style in shown.items():
            curve(ax, lines[method], style)
        limits(ax, [point for line in lines.values() for _, point in line])
        ax.set_xlabel(label)
        if name == "drift":
            _times(ax, results.levels[study.name, name])
    figure.axes[0].set_ylabel("balanced accuracy")
    legend(figure, shown)
    return figure


def _times(ax: Axes, levels: Sequence[str]) -> None:
    """A logarithmic axis with the levels' own words."""
    ax.set_xscale("log")
    words = [
        level.replace("hour", "h").replace("days", "d").replace("day", "d").replace("year", "y") for level in levels
    ]
    ax.set_xticks([size(level)[0] for level in levels], words, fontsize=8, rotation=40)
    ax.xaxis.set_minor_locator(NullLocator())


page_figure = PageFigure(
    draw,
    "Few bits, drift, dead neurons and noise on the membranes, mean over the dies; each panel has its own axis",
    above=tuple(PANELS),
    suffix="-conditions",
)
