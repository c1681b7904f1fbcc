"""Cross-entropy alone."""

from __future__ import annotations

from ...chip import ChipModel
from ...regularizers import Regularizer, as_regularizer
from ...regularizers.regularizer import Criterion
from .base import Method, Trial


def build(loss: Criterion, chip: ChipModel | None) -> Regularizer:
    return as_regularizer(loss)


method = Method(
    "cross-entropy alone",
    build,
    tuple(Trial({}, {"learning_rate": rate}) for rate in (3e-3, 1e-3, 6e-3, 1e-2)),
    order=1,
)
