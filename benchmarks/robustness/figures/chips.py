"""Each chip that holds the networks: the mean of its dies and the worst of them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ..page_figure import PageFigure, legend, limits, styles
from ..record import SCORE
from ..results_table import Place, ResultsTable
from ..study import Study


def draw(study: Study, results: ResultsTable) -> Figure | None:
    """Chips in rows, a dot for every method; chips that refused all networks are left out."""
    shown = styles(study.name, results, "chips")
    metrics = {"mean of the dies": f"{SCORE} mean", "worst die": f"{SCORE} min"}
    means = {
        chip: _column(study, results, chip, metrics["mean of the dies"])
        for chip in results.levels.get((study.name, "chips"), ())
    }
    chips = sorted((chip for chip, found in means.items() if found), key=lambda chip: np.mean(list(means[chip])))
    if not chips:
        return None
    rows = len(shown)
    figure = Figure(figsize=(9, 1.6 + max(0.42, 0.075 * len(shown)) * len(chips)), layout="constrained")
    for ax, (title, metric) in zip(figure.subplots(1, 2, sharey=True), metrics.items()):
        points = []
        for place, (method, style) in enumerate(reversed(shown.items())):
            shift = 0.8 * ((rows - 1) / 2 - place) / rows
            for y, chip in enumerate(chips):
                point = results.point(study.name, method, Place("chips", chip, metric))
                if point is None:
                    continue
                points.append(point)
                ax.plot([point.low, point.high], [y + shift] * 2, color=style.color, lw=1.2, alpha=0.5)
                ax.plot(point.value, y + shift, "o", color=style.color, ms=4.5 if style.highlighted else 2.5)
        for y in range(len(chips) - 1):
            ax.axhline(y + 0.5, color="#d0d0d0", lw=0.6)
        ax.set_ylim(-0.5, len(chips) - 0.5)
        limits(ax, points, across=True)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("balanced accuracy")
        ax.locator_params(axis="x", nbins=6)
        ax.grid(axis="y", visible=False)
    figure.axes[0].set_yticks(range(len(chips)), chips)
    legend(figure, shown)
    return figure


def _column(study: Study, results: ResultsTable, chip: str, metric: str) -> list[float]:
    points = (results.point(study.name, name, Place("chips", chip, metric)) for name in results.methods[study.name])
    return [point.value for point in points if point is not None]


page_figure = PageFigure(
    draw,
    "Dies of all chip models that can hold the networks; lines reach from the lowest to the highest training seed",
    ("chips",),
    suffix="-chips",
)
