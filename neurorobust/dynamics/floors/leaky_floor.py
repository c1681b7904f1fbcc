"""A floor that lets a part of the gradient through."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._util.errors import check_number
from .base import Floor


@dataclass(frozen=True)
class LeakyFloor(Floor):
    """The membrane of :class:`~neurorobust.dynamics.HardFloor`; its derivative in v is ``slope`` below the floor, not
    0, and that in v_floor 1 − slope. With slope 1 the gradient does not see the floor.

    Args:
        slope: 0 to 1.

    Raises:
        ValueError: ``slope`` is outside 0 to 1.

    Example:
        >>> v = torch.tensor([-0.5, 0.5], requires_grad=True)
        >>> held = nr.nn.LeakyFloor(0.5).limited(v, torch.tensor(0.0))
        >>> held.tolist(), torch.autograd.grad(held.sum(), v)[0].tolist()  # an attack sees half of what goes below
        ([0.0, 0.5], [0.5, 1.0])
    """

    slope: float = 0.1

    def __post_init__(self) -> None:
        if check_number("slope", self.slope) > 1:
            raise ValueError(f"slope: got {self.slope!r}; expected a number from 0 to 1.")

    def limited(self, v: Tensor, v_floor: Tensor) -> Tensor:
        away = self.slope * (v - v_floor)
        return torch.where(v < v_floor, v_floor + (away - away.detach()), v)
