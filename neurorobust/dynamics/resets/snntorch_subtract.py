"""Subtraction of the threshold at once, as snnTorch computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class SnntorchSubtract(Reset):
    """:class:`~neurorobust.dynamics.Subtract` as in snnTorch (``reset_delay=False``): a membrane that is still
    above ϑ after its reset has to reach 2ϑ in the next step in order to spike again, and is reset only if it does."""

    detach: bool = False
    word: ClassVar[str] = "subtractive reset"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * self.membrane(v, z, c)

    def membrane(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return v - z * c.v_threshold

    def barrier(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        above = self.membrane(v, z, c) > c.v_threshold
        return above.to(v.dtype) * c.v_threshold
