"""Inhibition without a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..floors import Floor
from .base import Inhibition


@dataclass(frozen=True)
class PullsDown(Inhibition):
    """v + excitation − inhibition + direct current: inhibition can pull the membrane down faster than its leak."""

    word: ClassVar[str] = "subtracted inhibition"

    def driven(self, v: Tensor, excitation: Tensor, inhibition: Tensor, direct: Tensor, floor: Floor) -> Tensor:
        return v + excitation - inhibition + direct
