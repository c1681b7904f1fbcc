"""A fraction of the neurons is dead, different ones on every die."""

from __future__ import annotations

from torch import nn

from neurorobust.chip import DeadNeurons, mismatch

from ..cell import Cell
from ..fleets import on_dies
from ..measurement import Measurement, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    return on_dies(network, mismatch(0.0).with_defects(DeadNeurons(float(level))), cell)


measurement = Measurement(
    "dead neurons",
    always(0.1, 0.2, 0.4, 0.05, 0.3),
    measure,
    lambda budget: budget.dies * budget.samples,
    stage=2,
)
