"""No floor."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .base import Floor


@dataclass(frozen=True)
class NoFloor(Floor):
    """v, however low: to measure what a floor does. A neuron with it takes no v_floor.

    Example:
        >>> nr.nn.NoFloor().limited(torch.tensor([-0.5, 0.5]), torch.tensor(0.0)).tolist()
        [-0.5, 0.5]
    """

    def limited(self, v: Tensor, v_floor: Tensor) -> Tensor:
        return v
