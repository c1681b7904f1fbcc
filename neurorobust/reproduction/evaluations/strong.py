"""The frozen strong suite; the dies it finds are kept, for :mod:`~neurorobust.reproduction.evaluations.transfer`.

Where ten steps reach chance the suite, whose candidates they are among, is left out: it can only find worse.
"""

from __future__ import annotations

from torch import nn

from ...attacks import PGA, Ball
from ...evaluation import FROZEN, frozen_worst_case, worst_case
from ..attacked import keep_die, values
from ..cell import Cell
from ..evaluation import DIES, Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    data, ball = cell.attacked_data, Ball.uniform(float(level))
    worst, suite = worst_case(network, data, ball, PGA(steps=10), seed=DIES), "left out: ten steps reach chance"
    if worst.score > 1 / len(cell.study.task.classes):
        worst, suite = frozen_worst_case(network, data, ball, seed=DIES), FROZEN
    keep_die(network, worst.deviations, level, cell)
    return {**values(worst, cell), "suite": suite}


evaluation = Evaluation("the strong suite, every kind", always(0.1, 0.05, 0.02), measure, lambda d: 1700 * d.attacked)
