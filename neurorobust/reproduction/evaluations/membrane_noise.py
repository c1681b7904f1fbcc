"""Noise on every membrane in every step, as a fraction of the neuron's threshold."""

from __future__ import annotations

from torch import nn

from ...chip import mismatch
from ...core.noise import Membrane
from ..cell import Cell
from ..dies import on_dies
from ..evaluation import Evaluation, Values, always

SHARE = 5
"""Noise runs die by die, which is slow, and its dies differ little: a fifth of the dies."""


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    chip = mismatch(0.0).with_noise(Membrane(float(level)))
    return on_dies(network, chip, cell, max(1, cell.detail.dies // SHARE))


evaluation = Evaluation(
    f"membrane noise, on 1/{SHARE} of the dies",
    always(0.1, 0.05, 0.2),
    measure,
    lambda detail: 5 * detail.dies * detail.samples / SHARE,
    stage=2,
)
