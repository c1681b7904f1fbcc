"""An attack on every kind, around random mismatch."""

from __future__ import annotations

from ...chip import ChipModel
from ...regularizers import ForwardNoise, Regularizer
from ...regularizers.regularizer import Criterion
from . import adversarial
from .base import AROUND, ATTACK, NOISE, Method, trials


def build(loss: Criterion, chip: ChipModel | None, *, level: float, **settings: float) -> Regularizer:
    return adversarial.build(ForwardNoise(loss, level), chip, **settings)


method = Method(
    "adversarial and forward_noise together",
    build,
    trials({**ATTACK, "level": NOISE}, *AROUND[:2], {"level": 0.1}),
    order=10,
)
