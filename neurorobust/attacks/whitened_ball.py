"""The ball of standard normals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_number
from ..core.params import KINDS, Deviations
from .ball import Ball


@dataclass(frozen=True, init=False)
class WhitenedBall(Ball):
    """‖u‖₂ ≤ norm over the standard normals u of all parameters together, to rounding.

    A search in it optimises u, not δ: the laws of a chip turn u into δ. No probability is attached: with n elements
    almost every die lies at √n. A step goes along g/‖g‖₂ of all parameters together.

    Args:
        norm: the largest ‖u‖₂.

    Raises:
        ValueError: ``norm`` is negative or not finite.

    Example:
        >>> ball = nr.attacks.WhitenedBall(norm=5.0)
        >>> u = ball.project({"a.weight": torch.full((2,), 6.0), "b.weight": torch.full((2,), 8.0)})
        >>> u["a.weight"].square().sum() + u["b.weight"].square().sum()  # of both together: 5²
        tensor(25.0000)
    """

    norm: float

    def __init__(self, norm: float):
        super().__init__(dict.fromkeys(sorted(KINDS), check_number("norm", norm)))
        object.__setattr__(self, "norm", float(norm))

    def without(self, names: Sequence[str]) -> Self:
        raise TypeError("WhitenedBall: has one norm for all normals; a chip leaves an exact host out by itself.")

    def project(self, deviations: Deviations) -> Deviations:
        length = _length(deviations)
        return deviations if length <= self.norm else _times(deviations, self.norm / length)

    def ascent_step(self, deviations: Deviations, gradient: Deviations, length: float) -> Deviations:
        direction = {name: gradient[name] for name in deviations}
        norm = _length(direction)
        scale = length * self.norm / norm.clamp(min=torch.finfo(norm.dtype).tiny)
        return {name: u + scale * direction[name] for name, u in deviations.items()}

    def sample(self, center: Deviations, generator: torch.Generator) -> Deviations:
        normal = {
            name: torch.randn(zero.shape, generator=generator, dtype=zero.dtype).to(zero.device)
            for name, zero in center.items()
        }
        n = sum(zero.numel() for zero in center.values())
        distance = torch.rand((), generator=generator, dtype=torch.float64).item() ** (1 / max(n, 1))
        return _times(normal, self.norm * distance / _length(normal))


def _length(tensors: Deviations) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors.values()]).norm()


def _times(tensors: Deviations, factor: Tensor) -> Deviations:
    return {name: factor * tensor for name, tensor in tensors.items()}
