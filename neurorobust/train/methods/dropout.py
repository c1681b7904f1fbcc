"""Dropout."""

from __future__ import annotations

from ...chip import ChipModel
from ...regularizers import Dropout, Regularizer
from ...regularizers.regularizer import Criterion
from .base import Method, trials


def build(loss: Criterion, chip: ChipModel | None, *, p: float) -> Regularizer:
    return Dropout(loss, p)


method = Method(
    "dropout of recurrent spikes, or between dense layers",
    build,
    trials({"p": 0.3}, {"p": 0.1}, {"p": 0.2}, {"p": 0.5}),
    order=2,
)
