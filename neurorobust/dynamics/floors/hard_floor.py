"""A floor with its true gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Floor


@dataclass(frozen=True)
class HardFloor(Floor):
    """max(v, v_floor) with its true derivative: 1 in v where v ≥ v_floor, 0 below; the rest is the derivative in
    v_floor."""

    def limited(self, v: Tensor, v_floor: Tensor) -> Tensor:
        return torch.where(v < v_floor, v_floor, v)
