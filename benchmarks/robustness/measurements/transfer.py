"""The worst dies of all other networks of the study, put on this one; the strong figure is the minimum of both."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from neurorobust.attacks import Ball
from neurorobust.evaluation import transfer

from ..cell import Cell
from ..measurement import Measurement, Values
from ..worst_dies import kept_die, kept_dies, values


def levels(cell: Cell) -> Sequence[str]:
    """“0.1 adversarial/0”: ζ and whose die. Those that are there now; more come with more networks."""
    own = f"{cell.method}/{cell.seed}"
    return [f"{zeta} {source}" for zeta, source in kept_dies(cell) if source != own]


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    zeta, source = level.split()
    die = kept_die(zeta, source, cell)
    worst = transfer(network, cell.attacked_data, Ball.uniform(float(zeta)), [die])
    return {metric: round(value, 5) for metric, value in values(worst, cell).items() if isinstance(value, float)}


measurement = Measurement(
    "worst dies of the other networks", levels, measure, lambda budget: 2 * budget.attacked, stage=1
)
