"""An attack on weights and biases only, as published."""

from __future__ import annotations

from ...attacks import Ball
from ...chip import ChipModel
from ...regularizers import Adversarial, Regularizer
from ...regularizers.regularizer import Criterion
from .base import AROUND, ATTACK, Method, pga, trials


def build(loss: Criterion, chip: ChipModel | None, *, zeta: float, beta: float, steps: float) -> Regularizer:
    return Adversarial(loss, pga(steps), Ball(weight=zeta, bias=zeta), beta)


method = Method("an attack on weights and biases only, as published", build, trials(ATTACK, *AROUND), order=8)
