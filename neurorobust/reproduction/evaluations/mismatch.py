"""Random mismatch on every kind, δ = level · N(0, 1): the same dies for every network."""

from __future__ import annotations

from torch import nn

from ...chip import mismatch
from ...evaluation import evaluate
from ..cell import Cell
from ..evaluation import DIES, Evaluation, Values, always, fleet_values


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    dies = evaluate(network, cell.fleet_data, mismatch(float(level)), n_chips=cell.detail.dies, seed=DIES)
    return fleet_values(dies, cell.study.task.classes)


evaluation = Evaluation(
    "random mismatch of every kind",
    always(0.3, 0.1, 0.2, 0.5, 0.7),
    measure,
    lambda detail: (detail.dies + 2) * detail.samples,
    order=1,
)
