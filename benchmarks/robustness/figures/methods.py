"""A row for every method, a column for each of the most telling numbers."""

from __future__ import annotations

from matplotlib.figure import Figure

from neurorobust.evaluation import STRONG

from ..page_figure import PageFigure, dots
from ..record import SCORE
from ..results_table import Place, ResultsTable
from ..study import Study

HEADLINE = {
    "nominal": Place("nominal", "test"),
    "mismatch 0.3: mean": Place("mismatch", "0.3", f"{SCORE} mean"),
    "worst die": Place("mismatch", "0.3", f"{SCORE} min"),
    "nominal, subset": Place("samples", "attacked"),
    "ten steps 0.1": Place("ten_kl", "0.1"),
    f"{STRONG} 0.05": Place("strong", "0.05"),
    f"{STRONG} 0.1": Place("strong", "0.1"),
}
"""The most telling numbers, by title."""


def draw(study: Study, results: ResultsTable) -> Figure | None:
    """Methods in the order of their worst case."""
    return dots(study.name, results, HEADLINE, (f"{STRONG} 0.05", f"{STRONG} 0.1", "mismatch 0.3: mean"))


page_figure = PageFigure(
    draw,
    "All methods, the most robust on top; lines reach from the lowest to the highest training seed",
    suffix="-methods",
)
