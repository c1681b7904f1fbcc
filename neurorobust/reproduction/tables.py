"""Tables in Markdown: methods in rows, each number with its interval, the best of a column in bold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .book import Book, Place, Point
from .evaluation import SCORE, Evaluation

MISSING = "–"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def methods_by(task: str, book: Book, columns: Mapping[str, Place]) -> str:
    """Methods × places, with the number of seeds; empty where nothing was measured."""
    points = {method: [book.point(task, method, place) for place in columns.values()] for method in book.methods[task]}
    points = {method: row for method, row in points.items() if any(row)}
    best = [
        _best([row[i] for row in points.values()]) if place.metric.startswith(SCORE) else math.nan
        for i, place in enumerate(columns.values())
    ]
    rows = [
        [method, _seeds(task, method, book, columns), *(cell(point, top) for point, top in zip(row, best))]
        for method, row in points.items()
    ]
    return table(["method", "n", *columns], rows) if rows else ""


def of_evaluation(task: str, name: str, evaluation: Evaluation, book: Book) -> str:
    """What an evaluation shows, methods × levels: of fleets, the mean and the worst die; empty without numbers."""
    levels, metric = book.levels.get((task, name), ()), evaluation.shown
    parts = {"": metric, "Mean of the dies:\n": f"{metric} mean", "Worst die:\n": f"{metric} min"}
    made = [
        (title, methods_by(task, book, {level: Place(name, level, shown) for level in levels}))
        for title, shown in parts.items()
        if shown in book.metrics.get((task, name), ())
    ]
    return "\n".join(f"{title}\n{words}" if title else words for title, words in made if words)


def cell(point: Point | None, best: float = math.nan) -> str:
    """.972 ±.007: the mean and half its 95 % interval."""
    if point is None:
        return MISSING
    words = f"**{short(point.value)}**" if short(point.value) == short(best) else short(point.value)
    half = (point.high - point.low) / 2
    return words if math.isnan(half) else f"{words} ±{short(half)}"


def short(value: float) -> str:
    """Three decimals, and two digits of what is smaller."""
    if value != 0 and abs(value) < 5e-4:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.3f}".replace("0.", ".", 1) if 0 < abs(value) < 1 else f"{value:.4g}"


def _best(column: Sequence[Point | None]) -> float:
    """The largest of a column; NaN where many share it."""
    values = [point.value for point in column if point is not None]
    if len(values) < 2:
        return math.nan
    top = max(values)
    return top if sum(short(value) == short(top) for value in values) <= len(values) / 3 else math.nan


def _seeds(task: str, method: str, book: Book, columns: Mapping[str, Place]) -> str:
    """How many seeds the numbers of a row are over."""
    counts = sorted({book.n(task, method, place) for place in columns.values()} - {0})
    return "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else MISSING
