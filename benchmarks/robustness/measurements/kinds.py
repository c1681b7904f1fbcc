"""The suite strong-1 on weights and biases alone, and on all other kinds alone."""

from __future__ import annotations

from torch import nn

from neurorobust.evaluation import STRONG, strong_worst_case

from ..cell import Cell
from ..measurement import DIES, Measurement, Values, always, or_refused
from ..worst_dies import ball_of, values


@or_refused
def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    worst = strong_worst_case(network, cell.attacked_data, ball_of(network, level), seed=DIES)
    return {**values(worst, cell), "suite": worst.suite}


measurement = Measurement(
    f"the suite {STRONG} on weights and biases alone, and on all others alone",
    always("0.1 weights", "0.1 others", "0.05 weights", "0.2 others"),
    measure,
    lambda budget: 1700 * budget.attacked,
    stage=2,
)
