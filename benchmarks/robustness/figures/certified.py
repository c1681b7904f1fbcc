"""Proved accuracy against the size of the ball, by branches and by plain intervals."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..page_figure import PageFigure, curve, dash, legend, points_of, styles
from ..record import SCORE
from ..results_table import ResultsTable
from ..study import Study


def draw(study: Study, results: ResultsTable) -> Figure | None:
    """Line of each method: sound branches. Dotted, for highlighted methods: the interval computation of the paper."""
    if not results.has(study.name, "certified"):
        return None
    shown = styles(study.name, results, "certified")
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    ax = figure.subplots()
    for method, style in shown.items():
        curve(ax, points_of(results, study.name, method, "certified", SCORE), style)
        if style.highlighted:
            curve(ax, points_of(results, study.name, method, "certified", f"plain {SCORE}"), style, ":")
    ax.set(xscale="log", xlabel="size of the ball ζ, every kind", ylabel="proved balanced accuracy", ylim=(-0.02, 1.02))
    legend(figure, shown, [dash(":", "plain intervals")])
    return figure


page_figure = PageFigure(
    draw, "Proved accuracy: no die in the ball has a lower one", ("certified",), suffix="-certified"
)
