"""Random mismatch while training."""

from __future__ import annotations

from ...chip import ChipModel
from ...regularizers import ForwardNoise, Regularizer
from ...regularizers.regularizer import Criterion
from .base import NOISE, Method, trials


def build(loss: Criterion, chip: ChipModel | None, *, level: float) -> Regularizer:
    return ForwardNoise(loss, level)


method = Method(
    "random mismatch on every kind in every batch",
    build,
    trials({"level": NOISE}, {"level": 0.1}, {"level": 0.2}, {"level": 0.5}),
    order=3,
)
