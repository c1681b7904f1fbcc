"""A measurement: a function from a network and a level to named numbers, in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec

from torch import nn

from neurorobust._util.discovery import modules
from neurorobust._util.errors import unknown
from neurorobust.evaluation import FleetResult

from .cell import Cell
from .record import SCORE
from .study import Budget

P = ParamSpec("P")

Values = Mapping[str, Any]
"""Numbers by metric. A list holds one number per die; words (why a chip refused) stay out of the table."""

DIES = 1
"""Seed of the dies and of the attacks, the same for every network; training seeds never meet it."""


@dataclass(frozen=True)
class Measurement:
    """One way to measure a network.

    Attributes:
        title: one line for readers.
        levels: how strong, the most informative first; (cell) → words, mostly numbers.
        measure: (network, level, cell) → values.
        passes: forward passes of one sample that a level takes, for the estimate of time; a gradient counts three.
        stage: 0 every network needs it; 1 the claims need it; 2 everything else.
        shown: the metric in tables, a mean over seeds; empty for none. beside: other metrics and their titles.
        timed: whether it measures time, which differs from run to run.
        table: records of a study's cells → a table in Markdown; for results where a mean over seeds is not enough.
        die_of: (record, level) → ζ and cell of the stored worst die that the level is measured on, None without one.
    """

    title: str
    levels: Callable[[Cell], Sequence[str]]
    measure: Callable[[nn.Module, str, Cell], Values]
    passes: Callable[[Budget], float]
    stage: int = 0
    shown: str = SCORE
    beside: Mapping[str, str] = field(default_factory=dict)
    timed: bool = False
    table: Callable[[Sequence[Mapping[str, Any]]], str] | None = None
    die_of: Callable[[Mapping[str, Any], str], tuple[str, str] | None] = lambda record, level: None

    def pending(self, cell: Cell, done: Mapping[str, Any]) -> list[str]:
        """The levels that are still to be measured."""
        return [level for level in list(self.levels(cell))[: cell.budget.levels] if level not in done]


def or_refused(measure: Callable[P, Values]) -> Callable[P, Values]:
    """The same function, but if a network, chip or condition raises an error, the value is its message."""

    @wraps(measure)
    def measured(*args: P.args, **kwargs: P.kwargs) -> Values:
        try:
            return measure(*args, **kwargs)
        except (TypeError, ValueError) as error:
            return {"refused": " ".join(str(error).split())}

    return measured


def always(*levels: float | str) -> Callable[[Cell], Sequence[str]]:
    """The same levels for every network."""
    words = tuple(level if isinstance(level, str) else f"{level:g}" for level in levels)
    return lambda cell: words


def all_measurements() -> dict[str, Measurement]:
    """Every measurement by name, early stages and few passes first.

    Each module of ``measurements`` holds one in ``measurement``.
    """
    from . import measurements as package

    found = {module.__name__.rpartition(".")[2]: module.measurement for module in modules(package)}
    return dict(sorted(found.items(), key=lambda item: (item[1].stage, item[1].passes(Budget()), item[0])))


def find_measurements(names: Sequence[str] | None) -> dict[str, Measurement]:
    """Some measurements by name; all of them for None."""
    known = all_measurements()
    for name in names or ():
        if name not in known:
            raise unknown("measurements", name, known)
    return {name: value for name, value in known.items() if names is None or name in names}


def fleet_values(result: FleetResult, classes: Sequence[str]) -> Values:
    """A fleet as values: balanced accuracy of every die; of the rest, means over the dies."""
    values: dict[str, Any] = {"balanced_accuracy": [round(value, 5) for value in result.score.tolist()]}
    values["programmed"] = result.programmed
    if result.accuracy is not None and result.recall is not None:
        values["accuracy"] = float(result.accuracy.mean())
        values |= recalls(result.recall.mean(0).tolist(), classes)
    return values


def recalls(recall: Sequence[float], classes: Sequence[str]) -> Values:
    """Recall by class."""
    return {f"recall {name}": value for name, value in zip(classes, recall, strict=True)}
