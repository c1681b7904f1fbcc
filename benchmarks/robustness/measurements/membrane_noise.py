"""Noise on every membrane in every step, as a fraction of the neuron's threshold."""

from __future__ import annotations

from torch import nn

from neurorobust.chip import mismatch
from neurorobust.core.noise import Membrane

from ..cell import Cell
from ..fleets import on_dies
from ..measurement import Measurement, Values, always

SHARE = 5
"""Noise runs die by die, which is slow, and its dies differ little: a fifth of the dies."""


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    chip = mismatch(0.0).with_noise(Membrane(float(level)))
    return on_dies(network, chip, cell, max(1, cell.budget.dies // SHARE))


measurement = Measurement(
    f"membrane noise, on 1/{SHARE} of the dies",
    always(0.1, 0.05, 0.2),
    measure,
    lambda budget: 5 * budget.dies * budget.samples / SHARE,
    stage=2,
)
