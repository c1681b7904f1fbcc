"""The strong suite; the dies it finds are kept, for :mod:`~neurorobust.reproduction.evaluations.transfer`."""

from __future__ import annotations

from torch import nn

from ...attacks import Ball, strong
from ...evaluation import worst_case
from ..attacked import keep_die, values
from ..cell import Cell
from ..evaluation import DIES, Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    worst = worst_case(network, cell.attacked_data, Ball.uniform(float(level)), strong(), seed=DIES)
    keep_die(network, worst.deviations, level, cell)
    return values(worst, cell)


evaluation = Evaluation("the strong suite, every kind", always(0.1, 0.05), measure, lambda d: 1000 * d.attacked, 2)
