"""Sharpness-aware minimisation."""

from __future__ import annotations

from ...chip import ChipModel
from ...regularizers import SAM, Regularizer
from ...regularizers.regularizer import Criterion
from .base import Method, trials


def build(loss: Criterion, chip: ChipModel | None, *, radius: float) -> Regularizer:
    return SAM(loss, radius)


method = Method(
    "sharpness-aware minimisation",
    build,
    trials({"radius": 0.05}, {"radius": 0.02}, {"radius": 0.1}, {"radius": 0.5}),
    order=7,
)
