"""Adaptation of the threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Adaptation, Effects


@dataclass(frozen=True)
class AdaptiveThreshold(Adaptation):
    """Every spike raises the threshold by ``adaptation``, and the rise decays with tau_adapt."""

    word: ClassVar[str] = "adaptive threshold"

    def effects(self, adaptation: Tensor) -> Effects:
        return Effects(None, adaptation)
