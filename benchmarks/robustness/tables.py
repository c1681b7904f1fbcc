"""Tables in Markdown: a row for each method, numbers with the range of the seeds, the best of a column in bold."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cell import Cell
from .measurement import Measurement
from .record import SCORE
from .results import LOWEST
from .results_table import Place, Point, ResultsTable
from .study import Study

MISSING = "–"

FEW_CLASSES, WIDTH = 4, 7
"""Numbers of classes and of levels that fit beside one another."""

LARGER = ("", " mean", " min", " q05")
"""Endings of the score in metrics of which the larger is the better."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def methods_by(task: str, results: ResultsTable, columns: Mapping[str, Place]) -> str:
    """Methods × places, with the number of seeds; empty where nothing was measured."""
    points = {
        method: [results.point(task, method, place) for place in columns.values()] for method in results.methods[task]
    }
    points = {method: row for method, row in points.items() if any(row)}
    best = [
        _best([row[i] for row in points.values()]) if place.metric.removeprefix(SCORE) in LARGER else math.nan
        for i, place in enumerate(columns.values())
    ]
    decimals = [any(word in place.metric for word in ("accuracy", "recall", "yield")) for place in columns.values()]
    rows = [
        [method, _seeds(task, method, results, columns), *(cell(*one) for one in zip(row, best, decimals))]
        for method, row in points.items()
    ]
    return table(["method", "n", *columns], rows) if rows else ""


def of_measurement(study: Study, name: str, measurement: Measurement, results: ResultsTable) -> str:
    """The tables of a measurement: methods × levels for each metric, or, of one level, methods × metrics.

    Accuracy and recall follow, at the most informative level.
    """
    task, shown = study.name, measurement.shown
    levels, known = results.levels.get((task, name), ()), results.metrics.get((task, name), ())
    titles = {shown: shown.replace("_", " "), f"{shown} mean": "mean of the dies", f"{shown} min": "worst die"}
    titles = {metric: words for metric, words in (titles | dict(measurement.beside)).items() if metric in known}
    recalls = [metric for metric in known if metric.startswith("recall ")]
    recalls = recalls if len(recalls) <= FEW_CLASSES else [LOWEST]
    beside = {metric: metric for metric in ("accuracy", *recalls) if metric in known}
    if len(levels) == 1 and f"{shown} mean" not in titles:
        titles |= beside
        at = "" if levels[0] == "test" else f" ({levels[0]})"
        return methods_by(
            task, results, {words + at: Place(name, levels[0], metric) for metric, words in titles.items()}
        )
    made = []
    for metric, words in titles.items():
        title = f"{words[0].upper()}{words[1:]}:\n\n" if len(titles) > 1 else ""
        for part in _parts(levels):
            rows = methods_by(task, results, {level: Place(name, level, metric) for level in part})
            made += [title + rows] if rows else []
            title = ""
    telling = [level for level in measurement.levels(Cell(study, "", 0, Path())) if level in levels] if beside else []
    if telling:
        at = telling[0] if f"{shown} mean" not in titles else f"{telling[0]}, means over the dies"
        rows = methods_by(task, results, {words: Place(name, telling[0], metric) for metric, words in beside.items()})
        made += [f"Accuracy and recall at {at}:\n\n{rows}"] if rows else []
    return "\n".join(made)


def _parts(levels: Sequence[str]) -> list[Sequence[str]]:
    """Levels in parts that fit the width of a page, about equally many in each."""
    count = math.ceil(len(levels) / WIDTH)
    edges = [round(i * len(levels) / count) for i in range(count + 1)] if count else [0]
    return [levels[left:right] for left, right in itertools.pairwise(edges)]


def cell(point: Point | None, best: float = math.nan, decimals: bool = True) -> str:
    """.972 [.965, .979]: the mean, the lowest and the highest seed, in three decimals or else two digits.

    If all look the same when printed, or there is one seed: the mean alone.
    """
    if point is None:
        return MISSING
    value, low, high = (short(number, decimals) for number in point)
    words = f"**{value}**" if value == short(best, decimals) else value
    return words if value == low == high else f"{words} [{low}, {high}]"


def mean_and_range(values: Sequence[float]) -> str:
    """The cell of numbers of several seeds: .972 [.965, .979]."""
    return cell(Point(sum(values) / len(values), min(values), max(values)))


def short(value: float, decimals: bool = True) -> str:
    """.972; or in two digits, .97, 1.9e-4."""
    mantissa, mark, exponent = (f"{value:.3f}" if decimals else f"{value:.2g}").partition("e")
    return re.sub(r"^(-?)0\.", r"\1.", mantissa) + (f"e{int(exponent)}" if mark else "")


def _best(column: Sequence[Point | None]) -> float:
    """The largest of a column; NaN where more than a third of the methods have it."""
    values = [point.value for point in column if point is not None]
    if len(values) < 2:
        return math.nan
    top = max(values)
    return top if sum(short(value) == short(top) for value in values) <= len(values) / 3 else math.nan


def _seeds(task: str, method: str, results: ResultsTable, columns: Mapping[str, Place]) -> str:
    """The number of seeds of a row's numbers."""
    counts = sorted({results.n(task, method, place) for place in columns.values()} - {0})
    return "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else MISSING
