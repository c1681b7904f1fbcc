"""Access to the numbers of the tidy table, for tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from neurorobust.train.methods import METHODS

from .record import SCORE
from .results import COLUMNS
from .study import RIVALS

ROBUST = (("mismatch", "0.3", f"{SCORE} mean"), ("strong", "0.05", SCORE), ("strong", "0.1", SCORE))
"""The numbers that the best rival is chosen by."""


class Place(NamedTuple):
    """The place of a number in the table: measurement, level, metric."""

    measurement: str
    level: str
    metric: str = SCORE


class Point(NamedTuple):
    """A mean over training seeds, and the lowest and highest seed."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ResultsTable:
    """Every number by (task, method, seed, measurement, level, metric).

    Attributes:
        values: the numbers.
        methods: of each task, in the order of ``METHODS``.
        seeds: of each task and method.
        levels: of each task and measurement.
        metrics: of each task and measurement. measured: the methods that have one.
    """

    values: Mapping[tuple[str, ...], float]
    methods: Mapping[str, Sequence[str]]
    seeds: Mapping[tuple[str, str], Sequence[str]]
    levels: Mapping[tuple[str, str], Sequence[str]]
    metrics: Mapping[tuple[str, str], Sequence[str]]
    measured: Mapping[tuple[str, str], Set[str]]

    def point(self, task: str, method: str, place: Place) -> Point | None:
        """Mean, lowest and highest of the seeds; None where nothing was measured."""
        found = [self.values.get((task, method, seed, *place)) for seed in self.seeds[task, method]]
        known = [value for value in found if value is not None]
        if not known:
            return None
        mean = self.values.get((task, method, "all", *place), sum(known) / len(known))
        return Point(mean, min(known), max(known))

    def n(self, task: str, method: str, place: Place) -> int:
        """The number of seeds of a mean."""
        return int(self.values.get((task, method, "all", place.measurement, place.level, "seeds"), 0))

    def has(self, task: str, measurement: str) -> bool:
        """True if a measurement has numbers."""
        return (task, measurement) in self.levels

    def best_rival(self, task: str) -> str | None:
        """The rival of the paper with the highest mean of accuracy at mismatch 0.3 and under the strong suite; of
        those where most of the three were measured."""
        scores = {}
        for method in self.methods[task]:
            found = [self.point(task, method, Place(*place)) for place in ROBUST]
            values = [point.value for point in found if point is not None]
            if method in RIVALS and values:
                scores[method] = (len(values), sum(values) / len(values))
        return max(scores, key=lambda method: scores[method]) if scores else None


def results_table(table: pd.DataFrame) -> ResultsTable:
    """From the tidy table."""
    values: dict[tuple[str, ...], float] = {}
    methods: dict[str, set[str]] = {}
    seeds: dict[tuple[str, str], set[str]] = {}
    levels: dict[tuple[str, str], set[str]] = {}
    metrics: dict[tuple[str, str], set[str]] = {}
    measured: dict[tuple[str, str], set[str]] = {}
    for task, method, seed, measurement, level, metric, value in table[list(COLUMNS)].itertuples(index=False):
        values[task, method, seed, measurement, level, metric] = value
        methods.setdefault(task, set()).add(method)
        seeds.setdefault((task, method), set()).update({seed} - {"all"})
        levels.setdefault((task, measurement), set()).add(level)
        metrics.setdefault((task, measurement), set()).add(metric)
        measured.setdefault((task, measurement), set()).add(method)
    order = list(METHODS)
    return ResultsTable(
        values,
        {
            task: sorted(names, key=lambda name: (order.index(name) if name in order else 99, name))
            for task, names in methods.items()
        },
        {key: sorted(names) for key, names in seeds.items()},
        {key: sorted(words, key=size) for key, words in levels.items()},
        {key: sorted(words) for key, words in metrics.items()},
        measured,
    )


def size(level: str) -> tuple[float, str]:
    """Sorting key of levels: numbers by size, times by length, words last."""
    number, _, unit = level.partition(" ")
    seconds = {"": 1.0, "s": 1.0, "hour": 3600.0, "day": 86400.0, "days": 86400.0, "year": 31557600.0}
    try:
        return float(number) * seconds[unit], ""
    except (KeyError, ValueError):
        return float("inf"), level
