"""No reset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class NoReset(Reset):
    """v[t] = α v[t−1] + …: a spike does not change the membrane."""

    detach: bool = False
    word: ClassVar[str] = "no reset"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * v
