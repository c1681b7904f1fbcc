"""This network on the worst dies of all other networks of the study; ``strong`` takes the minimum of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from neurorobust.attacks import Ball
from neurorobust.evaluation import transfer

from ..cell import Cell
from ..measurement import Measurement, Values
from ..worst_dies import stored_die, stored_dies, values


def levels(cell: Cell) -> Sequence[str]:
    """“0.1 adversarial/0”: ζ and the cell of the die. The dies that exist now; more networks add more."""
    own = f"{cell.method}/{cell.seed}"
    return [f"{zeta} {source}" for zeta, source in stored_dies(cell) if source != own]


def die_of(record: Mapping[str, Any], level: str) -> tuple[str, str]:
    """ζ and the cell of a level."""
    zeta, source = level.split()
    return zeta, source


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    zeta, source = level.split()
    die = stored_die(zeta, source, cell)
    worst = transfer(network, cell.attacked_data, Ball.uniform(float(zeta)), [die])
    return {metric: round(value, 5) for metric, value in values(worst, cell).items() if isinstance(value, float)}


measurement = Measurement(
    "worst dies of the other networks", levels, measure, lambda budget: 2 * budget.attacked, stage=1, die_of=die_of
)
