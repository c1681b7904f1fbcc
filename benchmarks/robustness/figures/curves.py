"""Accuracy against random mismatch, on the mean and on the worst die, and against attacks."""

from __future__ import annotations

from matplotlib.figure import Figure

from neurorobust.evaluation import STRONG

from ..page_figure import PageFigure, curve, dash, legend, points_of, styles
from ..record import SCORE
from ..results_table import ResultsTable
from ..study import Study

PANELS = (
    ("random mismatch: mean of the dies", "mismatch level", (("mismatch", f"{SCORE} mean", None),)),
    ("random mismatch: worst die", "mismatch level", (("mismatch", f"{SCORE} min", None),)),
    (f"attacks: {STRONG}", "attack size ζ", (("strong", SCORE, None), ("ten_kl", SCORE, ":"))),
)


def draw(study: Study, results: ResultsTable) -> Figure | None:
    """Three panels with one axis of accuracy."""
    if not any(results.has(study.name, name) for name in ("mismatch", "strong", "ten_kl")):
        return None
    shown = styles(study.name, results, "mismatch", "strong", "ten_kl")
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    for ax, (title, label, lines) in zip(figure.subplots(1, 3, sharey=True), PANELS):
        for method, style in shown.items():
            for measurement, metric, line in lines:
                if line is None or style.highlighted:
                    curve(ax, points_of(results, study.name, method, measurement, metric), style, line)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(label)
        if lines[0][0] == "strong":
            ax.set_xscale("log")
            ax.set_xticks([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5], ["0.005", "", "0.02", "0.05", "0.1", "0.2", "0.5"])
            ax.minorticks_off()
    figure.axes[0].set_ylabel("balanced accuracy")
    lowest = min(float(ax.dataLim.y0) for ax in figure.axes)
    figure.axes[0].set_ylim(max(0, lowest - 0.02), 1.01)
    legend(figure, shown, [dash(":", "ten steps")])
    return figure


page_figure = PageFigure(
    draw, "Dies with random mismatch, and the worst dies found by attacks on every kind of parameter", order=0
)
