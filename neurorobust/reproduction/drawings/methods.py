"""Every method in a row, the figures the claims are about side by side."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..book import Book, Place
from ..drawing import Drawing, limits, styles
from ..evaluation import SCORE
from ..study import Study

HEADLINE = {
    "nominal": Place("nominal", "test"),
    "mismatch 0.3: mean": Place("mismatch", "0.3", f"{SCORE} mean"),
    "worst die": Place("mismatch", "0.3", f"{SCORE} min"),
    "nominal, those attacked": Place("samples", "attacked"),
    "ten steps 0.1": Place("ten_kl", "0.1"),
    "strong 0.05": Place("strong", "0.05"),
    "strong 0.1": Place("strong", "0.1"),
}
"""The most telling figures, by title."""


def draw(study: Study, book: Book) -> Figure | None:
    """Dots with their intervals; methods in the order of their worst case."""
    shown, methods = styles(study.name, book), list(book.methods[study.name])
    columns = {
        title: {name: point for name in methods if (point := book.point(study.name, name, place)) is not None}
        for title, place in HEADLINE.items()
    }
    columns = {title: points for title, points in columns.items() if points}
    if not columns or len(methods) < 2:
        return None
    worst = [columns.get(title, {}) for title in ("strong 0.05", "strong 0.1", "mismatch 0.3: mean")]
    methods.sort(key=lambda name: sum(points[name].value for points in worst if name in points))
    figure = Figure(figsize=(10, 0.9 + 0.23 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for ax, (title, points) in zip(axes, columns.items()):
        for name, point in points.items():
            color, y = shown[name].color if shown[name].told else "0.45", methods.index(name)
            ax.plot([point.low, point.high], [y, y], color=color, lw=1.6, alpha=0.6, solid_capstyle="butt")
            ax.plot(point.value, y, "o", color=color, ms=5)
        limits(ax, list(points.values()), across=True)
        ax.set_title(title, fontsize=9.5)
        ax.grid(axis="y", visible=False)
        ax.tick_params(labelsize=8.5)
        ax.locator_params(axis="x", nbins=3)
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].set_ylim(-0.6, len(methods) - 0.4)
    for label, name in zip(axes[0].get_yticklabels(), methods):
        label.set_color(shown[name].color if shown[name].told else "0.25")
    figure.supxlabel("balanced accuracy (each column has its own axis)", fontsize=9)
    return figure


drawing = Drawing(
    draw, "Every method, with 95 % intervals (cut at the axes), the most robust on top", suffix="-methods"
)
