"""The frozen strong suite on weights and biases alone, and on all other kinds alone: where a network is weak."""

from __future__ import annotations

from torch import nn

from ...evaluation import STRONG, strong_worst_case
from ..attacked import ball_of, values
from ..cell import Cell
from ..evaluation import DIES, Evaluation, Values, always, or_refused


@or_refused
def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    worst = strong_worst_case(network, cell.attacked_data, ball_of(network, level), seed=DIES)
    return {**values(worst, cell), "suite": STRONG}


evaluation = Evaluation(
    "the strong suite on weights and biases alone, and on all others alone",
    always("0.1 weights", "0.1 others", "0.05 weights", "0.2 others"),
    measure,
    lambda detail: 1700 * detail.attacked,
    stage=2,
)
