"""The worst dies of all other networks of the study, put on this one; the strong figure is the minimum of both."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ...attacks import Ball
from ...evaluation import transfer
from ..attacked import kept_die, kept_dies, values
from ..cell import Cell
from ..evaluation import Evaluation, Values


def levels(cell: Cell) -> Sequence[str]:
    """“0.1 beta/0”: ζ and whose die. Those that are there now; more come with more networks."""
    own = f"{cell.method}/{cell.seed}"
    return [f"{zeta} {source}" for zeta, source in kept_dies(cell) if source != own]


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    zeta, source = level.split()
    die = kept_die(zeta, source, cell)
    worst = transfer(network, cell.attacked_data, Ball.uniform(float(zeta)), [die])
    return {metric: round(value, 5) for metric, value in values(worst, cell).items() if isinstance(value, float)}


evaluation = Evaluation(
    "worst dies of the other networks", levels, measure, lambda detail: 2 * detail.attacked, stage=1
)
