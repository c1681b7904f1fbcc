"""Some fraction of the neurons is dead, other ones on every die."""

from __future__ import annotations

from torch import nn

from ...chip import DeadNeurons, mismatch
from ..cell import Cell
from ..dies import on_dies
from ..evaluation import Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    return on_dies(network, mismatch(0.0).with_defects(DeadNeurons(float(level))), cell)


evaluation = Evaluation(
    "dead neurons",
    always(0.1, 0.2, 0.4, 0.05, 0.3),
    measure,
    lambda detail: detail.dies * detail.samples,
    stage=2,
)
