"""Subtraction of the threshold at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class Subtract(Reset):
    """v ← v − z ϑ at once, then v[t] = α v[t−1] + …"""

    detach: bool = False
    word: ClassVar[str] = "subtractive reset"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * self.membrane(v, z, c)

    def membrane(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return v - z * c.v_threshold
