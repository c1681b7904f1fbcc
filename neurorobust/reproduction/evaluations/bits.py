"""Weights of few bits, on an otherwise ideal chip."""

from __future__ import annotations

from torch import nn

from ...chip import mismatch
from ...evaluation import evaluate
from ..cell import Cell
from ..evaluation import DIES, SCORE, Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    chip = mismatch(0.0).with_bits(int(level))
    return {SCORE: evaluate(network, cell.study.task.test, chip, n_chips=1, seed=DIES).programmed}


evaluation = Evaluation(
    "weights of so many bits", always(4, 2, 3, 5, 6, 7, 8), measure, lambda detail: 3 * detail.samples, stage=1
)
