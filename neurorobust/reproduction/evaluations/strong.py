"""The frozen strong suite; the dies it finds are kept, for :mod:`~neurorobust.reproduction.evaluations.transfer`."""

from __future__ import annotations

from torch import nn

from ...attacks import Ball
from ..attacked import keep_die, values, worst_die
from ..cell import Cell
from ..evaluation import Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    worst, suite = worst_die(network, Ball.uniform(float(level)), cell)
    keep_die(network, worst.deviations, level, cell)
    return {**values(worst, cell), "suite": suite}


evaluation = Evaluation("the strong suite, every kind", always(0.1, 0.05, 0.02), measure, lambda d: 1700 * d.attacked)
