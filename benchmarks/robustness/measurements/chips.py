"""Each chip model that is installed: programmed, fabricated, measured; or refused, with the reason."""

from __future__ import annotations

from torch import nn

from neurorobust.chip.installed import chip_model, chip_models

from ..cell import Cell
from ..fleets import on_dies
from ..measurement import Measurement, Values


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    return on_dies(network, chip_model(level).with_host(exact=False), cell)


measurement = Measurement(
    "dies of each chip",
    lambda cell: sorted(set(chip_models()) - {"ideal"}),
    measure,
    lambda budget: budget.dies * budget.samples,
    stage=1,
)
