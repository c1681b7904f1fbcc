"""Curvature of the loss, smoothed over dies, in units of the ball's size ζ."""

from __future__ import annotations

from torch import nn

from ...attacks import Ball
from ...evaluation import sharpness
from ..cell import Cell
from ..evaluation import DIES, Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    found = sharpness(network, cell.attacked_data, ball=Ball.uniform(float(level)), seed=DIES)
    curvatures = {f"curvature {i}": float(value) for i, value in enumerate(found.curvature)}
    return {"largest": found.largest, **curvatures, "asymmetry": found.asymmetry, "passes": found.passes}


evaluation = Evaluation(
    "largest curvatures of the smoothed loss",
    always(0.05),
    measure,
    lambda detail: 500 * detail.attacked,
    stage=1,
    shown="largest",
)
