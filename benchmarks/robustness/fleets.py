"""A network on a fleet of dies, for the measurements on fleets."""

from __future__ import annotations

from torch import nn

from neurorobust.chip import ChipModel
from neurorobust.evaluation import evaluate

from .cell import Cell
from .measurement import DIES, Values, fleet_values, or_refused


@or_refused
def on_dies(network: nn.Module, chip: ChipModel, cell: Cell, n_dies: int | None = None) -> Values:
    """A network on a fleet; or the reason where a chip or a condition refuses it."""
    dies = evaluate(network, cell.fleet_data, chip, n_dies=n_dies or cell.budget.dies, seed=DIES)
    return fleet_values(dies, cell.study.task.classes)
