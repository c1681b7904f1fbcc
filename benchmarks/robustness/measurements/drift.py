"""Phase-change memory some time after programming."""

from __future__ import annotations

from torch import nn

from neurorobust.chip.installed import chip_model

from ..cell import Cell
from ..fleets import on_dies
from ..measurement import Measurement, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    return on_dies(network, chip_model("pcm").with_host(exact=False).at(level), cell)


measurement = Measurement(
    "dies of pcm, some time after programming",
    always("1 year", "25 s", "1 hour", "1 day", "30 days"),
    measure,
    lambda budget: budget.dies * budget.samples,
    stage=2,
)
