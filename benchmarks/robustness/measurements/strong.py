"""The suite strong-1; the dies it finds are stored for :mod:`~benchmarks.robustness.measurements.transfer`."""

from __future__ import annotations

from torch import nn

from neurorobust.attacks import Ball
from neurorobust.evaluation import STRONG, strong_worst_case

from ..cell import Cell
from ..measurement import DIES, Measurement, Values, always
from ..worst_dies import store_die, values


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    worst = strong_worst_case(network, cell.attacked_data, Ball.uniform(float(level)), seed=DIES)
    store_die(network, worst.deviations, level, cell)
    return {**values(worst, cell), "suite": worst.suite}


measurement = Measurement(
    f"the suite {STRONG}, every kind", always(0.1, 0.05, 0.02), measure, lambda d: 1700 * d.attacked
)
