"""Weights of few bits, on an otherwise ideal chip."""

from __future__ import annotations

from torch import nn

from ...chip import mismatch
from ..cell import Cell
from ..dies import on_dies
from ..evaluation import SCORE, Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    found = on_dies(network, mismatch(0.0).with_bits(int(level)), cell, 1)
    return {SCORE: found["programmed"]} if "programmed" in found else found


evaluation = Evaluation(
    "weights of so many bits", always(4, 2, 3, 5, 6, 7, 8), measure, lambda detail: 3 * detail.samples, stage=1
)
