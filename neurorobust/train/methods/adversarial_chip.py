"""An attack within the tolerances of a chip."""

from __future__ import annotations

from ...chip import ChipModel
from ...regularizers import Adversarial, ChipCorners, Regularizer
from ...regularizers.regularizer import Criterion
from .base import BETA, STEPS, Method, pga, trials


def build(loss: Criterion, chip: ChipModel, *, sigmas: float, beta: float, steps: float) -> Regularizer:
    return Adversarial(loss, pga(steps), ChipCorners(chip, sigmas), beta)


method = Method(
    "an attack within the chip's tolerance corners",
    build,
    trials({"sigmas": 1.0, "beta": BETA, "steps": STEPS}, {"beta": 1.0}, {"sigmas": 0.5}, {"sigmas": 2.0}),
    needs_chip=True,
    order=11,
)
