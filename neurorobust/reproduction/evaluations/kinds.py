"""The frozen strong suite on weights and biases alone, and on all other kinds alone: where a network is weak."""

from __future__ import annotations

from torch import nn

from ...attacks import Ball
from ...evaluation import FROZEN, frozen_worst_case
from ...params import SIGNED, kind_of, nominal
from ..attacked import values
from ..cell import Cell
from ..evaluation import DIES, Evaluation, Values, always

WEIGHTS = "weights"


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    zeta, which = level.split()
    radii = {
        kind: radius
        for kind, radius in Ball.uniform(float(zeta)).radii.items()
        if (kind in SIGNED) == (which == WEIGHTS)
    }
    if not any(kind_of(name) in radii for name in nominal(network)):
        return {"refused": f"nothing to attack: the network has no {which}"}
    worst = frozen_worst_case(network, cell.attacked_data, Ball(**radii), seed=DIES)
    return {**values(worst, cell), "suite": FROZEN}


evaluation = Evaluation(
    f"the strong suite on {WEIGHTS} and biases alone, or on all others alone",
    always(f"0.1 {WEIGHTS}", "0.1 others", f"0.05 {WEIGHTS}", "0.2 others"),
    measure,
    lambda detail: 1700 * detail.attacked,
    stage=2,
)
