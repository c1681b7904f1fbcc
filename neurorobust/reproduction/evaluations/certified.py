"""Accuracy that is proved for every parameter in the ball, by the paper's intervals and by sound branches."""

from __future__ import annotations

from torch import nn

from ...attacks import Ball
from ...evaluation import Branches, Intervals, certify
from ..cell import Cell
from ..evaluation import SCORE, Evaluation, Values, always

SAMPLES = 50


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    data, ball = cell.attacked_data.first(SAMPLES), Ball.uniform(float(level))
    plain, tight = certify(network, data, ball, Intervals()), certify(network, data, ball, Branches())
    return {
        SCORE: tight.balanced_accuracy,
        "accuracy": tight.accuracy,
        "plain balanced_accuracy": plain.balanced_accuracy,
        "plain accuracy": plain.accuracy,
        "samples": len(data),
    }


evaluation = Evaluation(
    f"proved accuracy, on {SAMPLES} samples",
    always(1e-5, 1e-4, 1e-3, 5e-5, 5e-4),
    measure,
    lambda detail: 500 * SAMPLES,
    stage=2,
    beside={f"plain {SCORE}": "by plain intervals, as in the paper"},
)
