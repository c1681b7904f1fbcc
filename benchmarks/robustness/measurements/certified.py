"""Accuracy that is proved for every parameter in the ball, by the paper's intervals and by sound branches."""

from __future__ import annotations

from torch import nn

from neurorobust.attacks import Ball
from neurorobust.evaluation import Branches, Intervals, certify

from ..cell import Cell
from ..measurement import Measurement, Values, always
from ..record import SCORE

SAMPLES = 50
PLAIN = {f"plain {SCORE}": "by plain intervals, as in the paper"}


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    return proved(network, Ball.uniform(float(level)), cell)


def proved(network: nn.Module, ball: Ball, cell: Cell) -> Values:
    """Accuracy that branches and plain intervals prove, on the first attacked samples."""
    data = cell.attacked_data.first(SAMPLES)
    plain, tight = certify(network, data, ball, Intervals()), certify(network, data, ball, Branches())
    return {
        SCORE: tight.balanced_accuracy,
        "accuracy": tight.accuracy,
        "plain balanced_accuracy": plain.balanced_accuracy,
        "plain accuracy": plain.accuracy,
        "samples": len(data),
    }


measurement = Measurement(
    f"proved accuracy, on {SAMPLES} samples",
    always(1e-5, 1e-4, 1e-3, 5e-5, 5e-4),
    measure,
    lambda budget: 500 * SAMPLES,
    stage=2,
    beside=PLAIN,
)
