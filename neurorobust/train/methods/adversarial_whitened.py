"""An attack on the standard normals behind a die."""

from __future__ import annotations

from ...chip import ChipModel
from ...regularizers import Regularizer, Whitened
from ...regularizers.regularizer import Criterion
from .base import BETA, STEPS, Method, pga, trials


def build(loss: Criterion, chip: ChipModel, *, norm: float, beta: float, steps: float) -> Regularizer:
    return Whitened(loss, pga(steps), chip, norm, beta)


method = Method(
    "an attack on the standard normals behind a die",
    build,
    trials({"norm": 20.0, "beta": BETA, "steps": STEPS}, {"norm": 5.0}, {"norm": 10.0}, {"norm": 40.0}),
    needs_chip=True,
    order=12,
)
