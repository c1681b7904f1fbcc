"""Reset to a value at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class ToValue(Reset):
    """v ← v_reset at once where z = 1 (0 where no v_reset is given), then v[t] = α v[t−1] + …: NIR's reset."""

    detach: bool = False
    word: ClassVar[str] = "reset to a value"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * self.membrane(v, z, c)

    def membrane(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return v - z * (v if c.v_reset is None else v - c.v_reset)
