"""The loss along random directions and along the adversarial one."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from ..page_figure import PageFigure, curve, legend, styles
from ..results_table import Place, Point, ResultsTable
from ..study import Study

PANELS = {"random": "random directions, their mean", "adversarial": "adversarial direction"}


class Plain(LogFormatter):
    """0.1 where matplotlib writes 1e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def draw(study: Study, results: ResultsTable) -> Figure | None:
    """Two panels with one axis of loss."""
    if not results.has(study.name, "landscape"):
        return None
    shown, level = styles(study.name, results, "landscape"), results.levels[study.name, "landscape"][0]
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    for ax, (kind, title) in zip(figure.subplots(1, 2, sharey=True), PANELS.items()):
        for method, style in shown.items():
            curve(ax, line(results, study.name, method, level, kind), style)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(f"place on the line, in units of ζ = {level}")
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(Plain())
        ax.yaxis.set_minor_formatter(Plain(minor_thresholds=(1.5, 0.5)))
    figure.axes[0].set_ylabel("loss")
    legend(figure, shown)
    return figure


def line(results: ResultsTable, task: str, method: str, level: str, kind: str) -> list[tuple[float, Point]]:
    """Loss against place, mean over the seeds."""
    metrics = (metric for metric in results.metrics[task, "landscape"] if metric.startswith(f"{kind} "))
    places = [(float(metric.split()[1]), metric) for metric in metrics if metric.split()[1][0] in "+-"]
    found = [(a, results.point(task, method, Place("landscape", level, metric))) for a, metric in sorted(places)]
    return [(a, point) for a, point in found if point is not None]


page_figure = PageFigure(
    draw,
    "Loss on the attacked test samples along directions away from the trained parameters",
    ("landscape",),
    suffix="-landscape",
)
