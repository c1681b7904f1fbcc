"""Weights of few bits, on an otherwise ideal chip."""

from __future__ import annotations

from torch import nn

from neurorobust.chip import mismatch

from ..cell import Cell
from ..fleets import on_dies
from ..measurement import Measurement, Values, always
from ..record import SCORE


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    found = on_dies(network, mismatch(0.0).with_bits(int(level)), cell, 1)
    return {SCORE: found["programmed"]} if "programmed" in found else found


measurement = Measurement(
    "weights of a few bits", always(4, 2, 3, 5, 6, 7, 8), measure, lambda budget: 3 * budget.samples, stage=1
)
