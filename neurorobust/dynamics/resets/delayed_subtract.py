"""Subtraction of the threshold one step after the spike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class DelayedSubtract(Reset):
    """v[t] = α v[t−1] − z[t−1] ϑ + …: the threshold is subtracted one step later, undecayed.

    The reset of arXiv 2106.05009 and the default of ``snntorch.Leaky``, whose gradients need ``detach=True``.
    """

    detach: bool = False
    word: ClassVar[str] = "subtractive reset"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * v - z * c.v_threshold
