"""Accuracy that is proved where weights and biases alone deviate, and where all other kinds alone do."""

from __future__ import annotations

from torch import nn

from ..cell import Cell
from ..measurement import Measurement, Values, always, or_refused
from ..worst_dies import ball_of
from .certified import PLAIN, SAMPLES, proved


@or_refused
def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    return proved(network, ball_of(network, level), cell)


measurement = Measurement(
    f"proved accuracy by kind, on {SAMPLES} samples",
    always("0.0005 weights", "0.0005 others", "0.0001 weights", "0.0001 others", "0.001 weights", "0.001 others"),
    measure,
    lambda budget: 500 * SAMPLES,
    stage=2,
    beside=PLAIN,
)
