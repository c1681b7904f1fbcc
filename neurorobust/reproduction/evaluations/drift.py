"""Phase-change memory some time after programming."""

from __future__ import annotations

from torch import nn

from ...chip.installed import chip_model
from ..cell import Cell
from ..dies import on_dies
from ..evaluation import Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    return on_dies(network, chip_model("pcm").at(level), cell)


evaluation = Evaluation(
    "dies of pcm, some time after programming",
    always("1 year", "25 s", "1 hour", "1 day", "30 days"),
    measure,
    lambda detail: detail.dies * detail.samples,
    stage=2,
)
