"""Random mismatch on every kind, δ = level · N(0, 1): the same dies for every network."""

from __future__ import annotations

from torch import nn

from neurorobust.chip import mismatch

from ..cell import Cell
from ..fleets import on_dies
from ..measurement import Measurement, Values, always
from ..record import SCORE


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    return on_dies(network, mismatch(float(level)), cell)


measurement = Measurement(
    "random mismatch of every kind",
    always(0.3, 0.1, 0.2, 0.5, 0.7),
    measure,
    lambda budget: budget.dies * budget.samples,
    beside={
        f"{SCORE} q05": "5th percentile of the dies",
        f"{SCORE} std": "standard deviation over the dies",
        "yield": "yield: fraction of the dies that meet the task's specification",
    },
)
