"""Each chip model that is installed: programmed, fabricated, measured; or refused, with the reason."""

from __future__ import annotations

from torch import nn

from ...chip.installed import chip_model, chip_models
from ..cell import Cell
from ..dies import on_dies
from ..evaluation import Evaluation, Values


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    return on_dies(network, chip_model(level), cell)


evaluation = Evaluation(
    "dies of each chip",
    lambda cell: sorted(set(chip_models()) - {"ideal"}),
    measure,
    lambda detail: detail.dies * detail.samples,
    stage=1,
)
