"""Curvature of the loss, smoothed over dies, in units of the ball's size ζ; without spikes, of the Hessian too."""

from __future__ import annotations

from torch import nn

from neurorobust.attacks import Ball
from neurorobust.evaluation import hessian_eigenvalues, sharpness
from neurorobust.evaluation.parts import has_surrogates

from ..cell import Cell
from ..measurement import DIES, Measurement, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    data, ball = cell.attacked_data, Ball.uniform(float(level))
    found = sharpness(network, data, ball=ball, seed=DIES)
    values = {f"curvature {i}": float(value) for i, value in enumerate(found.curvature)}
    for side, bounds in zip(("low", "high"), found.ci95.T, strict=True):
        values |= {f"curvature {i} {side}": float(bound) for i, bound in enumerate(bounds)}
    if not has_surrogates(network):
        exact = hessian_eigenvalues(network, data, ball=ball, seed=DIES)
        values |= {f"hessian {i}": float(value) for i, value in enumerate(exact.values)}
    return {"largest": found.largest, **values, "asymmetry": found.asymmetry, "passes": found.passes}


measurement = Measurement(
    "largest curvatures of the smoothed loss",
    always(0.05),
    measure,
    lambda budget: 500 * budget.attacked,
    stage=1,
    shown="largest",
    beside={"hessian 0": "largest eigenvalue of the Hessian"},
)
