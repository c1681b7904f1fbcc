"""Adaptation by an after-hyperpolarization current."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Adaptation, Effects


@dataclass(frozen=True)
class Ahp(Adaptation):
    """Every spike adds ``adaptation`` to a current that is subtracted from the input and decays with tau_adapt."""

    word: ClassVar[str] = "adaptation current"

    def effects(self, adaptation: Tensor) -> Effects:
        return Effects(adaptation, None)
