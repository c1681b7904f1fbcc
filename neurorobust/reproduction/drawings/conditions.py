"""What befalls a chip, besides mismatch: few bits, drift, dead neurons, noise on the membranes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..book import Book, size
from ..drawing import Drawing, curve, legend, limits, points_of, styles
from ..evaluation import SCORE
from ..study import Study

PANELS = {
    "bits": ("bits of a weight", SCORE),
    "drift": ("time after programming (pcm)", f"{SCORE} mean"),
    "death": ("fraction of dead neurons", f"{SCORE} mean"),
    "membrane_noise": ("membrane noise / threshold", f"{SCORE} mean"),
}


def draw(study: Study, book: Book) -> Figure | None:
    """A panel for each condition that was measured."""
    panels = [name for name in PANELS if book.has(study.name, name)]
    if not panels:
        return None
    shown = styles(study.name, book, *panels)
    figure = Figure(figsize=(max(4.5, 2.75 * len(panels)), 3.3), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        label, metric = PANELS[name]
        lines = {method: points_of(book, study.name, method, name, metric) for method in shown}
        for method, style in shown.items():
            curve(ax, lines[method], style)
        limits(ax, [point for line in lines.values() for _, point in line])
        ax.set_xlabel(label)
        if name == "drift":
            _times(ax, book.levels[study.name, name])
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


drawing = Drawing(
    draw,
    "Few bits, drift, dead neurons and noise on the membranes, mean over the dies; each panel has its own axis",
    above=tuple(PANELS),
    suffix="-conditions",
)
