"""An attack on every kind."""

from __future__ import annotations

from ...attacks import Ball
from ...chip import ChipModel
from ...regularizers import Adversarial, Regularizer
from ...regularizers.regularizer import Criterion
from .base import AROUND, ATTACK, Method, pga, trials


def build(
    loss: Criterion | Regularizer, chip: ChipModel | None, *, zeta: float, beta: float, steps: float
) -> Regularizer:
    return Adversarial(loss, pga(steps), Ball.uniform(zeta), beta)


method = Method("an attack on every kind", build, trials(ATTACK, *AROUND), order=9)
