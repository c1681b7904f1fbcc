"""Attacks on weights and biases alone, and on all other kinds alone."""

from __future__ import annotations

from matplotlib.figure import Figure

from neurorobust.evaluation import STRONG

from ..page_figure import PageFigure, dots
from ..results_table import Place, ResultsTable
from ..study import Study

COLUMNS = {
    "weights 0.05": Place("kinds", "0.05 weights"),
    "weights 0.1": Place("kinds", "0.1 weights"),
    "others 0.1": Place("kinds", "0.1 others"),
    "others 0.2": Place("kinds", "0.2 others"),
    "every kind 0.1": Place("strong", "0.1"),
}


def draw(study: Study, results: ResultsTable) -> Figure | None:
    """The methods with this measurement, in the order of their worst case."""
    measured = results.measured.get((study.name, "kinds"), ())
    return dots(study.name, results, COLUMNS, tuple(COLUMNS), measured) if measured else None


page_figure = PageFigure(
    draw,
    f"The suite {STRONG} on weights and biases alone, on all other kinds alone, and on every kind",
    above=("kinds",),
    suffix="-kinds",
)
