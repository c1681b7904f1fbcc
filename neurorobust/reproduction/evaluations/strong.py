"""The frozen strong suite; the dies it finds are kept, for :mod:`~neurorobust.reproduction.evaluations.transfer`."""

from __future__ import annotations

from torch import nn

from ...attacks import Ball
from ...evaluation import STRONG, strong_worst_case
from ..attacked import keep_die, values
from ..cell import Cell
from ..evaluation import DIES, Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    worst = strong_worst_case(network, cell.attacked_data, Ball.uniform(float(level)), seed=DIES)
    keep_die(network, worst.deviations, level, cell)
    return {**values(worst, cell), "suite": STRONG}


evaluation = Evaluation("the strong suite, every kind", always(0.1, 0.05, 0.02), measure, lambda d: 1700 * d.attacked)
