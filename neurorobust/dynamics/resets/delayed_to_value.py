"""Reset to a value one step after the spike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class DelayedToValue(Reset):
    """:class:`~neurorobust.dynamics.ToValue` at the start of the next step: the same spikes, but the membrane that is
    recorded is the one that reached the threshold. ``snntorch.Leaky`` with ``"zero"``, whose gradients need
    ``detach=True``."""

    detach: bool = False
    word: ClassVar[str] = "reset to a value"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * (v - z * (v if c.v_reset is None else v - c.v_reset))
