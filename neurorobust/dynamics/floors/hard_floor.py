"""A floor with its true gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Floor


@dataclass(frozen=True)
class HardFloor(Floor):
    """max(v, v_floor) with its true derivative: 1 in v where v ≥ v_floor, 0 below; the rest is the derivative in
    v_floor.

    Example:
        >>> v = torch.tensor([-0.5, 0.5], requires_grad=True)
        >>> held = nr.nn.HardFloor().limited(v, torch.tensor(0.0))
        >>> held.tolist(), torch.autograd.grad(held.sum(), v)[0].tolist()
        ([0.0, 0.5], [0.0, 1.0])
    """

    def limited(self, v: Tensor, v_floor: Tensor) -> Tensor:
        return torch.where(v < v_floor, v_floor, v)
