"""What the evaluations that put networks on dies share."""

from __future__ import annotations

from torch import nn

from ..chip import ChipModel
from ..evaluation import evaluate
from .cell import Cell
from .evaluation import DIES, Values, fleet_values, or_refused


@or_refused
def on_dies(network: nn.Module, chip: ChipModel, cell: Cell, n_dies: int | None = None) -> Values:
    """A network on a fleet; where a chip or a condition does not take it, why."""
    dies = evaluate(network, cell.fleet_data, chip, n_dies=n_dies or cell.detail.dies, seed=DIES)
    return fleet_values(dies, cell.study.task.classes)
