"""Where methods are weak: attacks on weights alone, and on everything else alone."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..book import Book, Place
from ..drawing import Drawing, dots
from ..study import Study

COLUMNS = {
    "weights 0.05": Place("kinds", "0.05 weights"),
    "weights 0.1": Place("kinds", "0.1 weights"),
    "others 0.1": Place("kinds", "0.1 others"),
    "others 0.2": Place("kinds", "0.2 others"),
    "every kind 0.1": Place("strong", "0.1"),
}


def draw(study: Study, book: Book) -> Figure | None:
    """Methods that were attacked so, in the order of their worst case."""
    measured = book.measured.get((study.name, "kinds"), ())
    return dots(study.name, book, COLUMNS, tuple(COLUMNS), measured) if measured else None


drawing = Drawing(
    draw,
    "The strong suite on weights and biases alone, on all other kinds alone, and on every kind (cut at the axes)",
    above=("kinds",),
    suffix="-kinds",
)
