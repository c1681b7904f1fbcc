"""The Euclidean ball."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .ball import Ball


@dataclass(frozen=True, init=False)
class L2Ball(Ball):
    """‖δ‖₂ ≤ ζ for every parameter tensor, to rounding (arXiv 2106.05009, p = 2); see :class:`Ball` for the arguments.

    A step goes along g/‖g‖₂, g the gradient in δ, so on a signed kind it moves θ* by length · ζ · abs(θ) · g/‖g‖₂; the
    direction is a constant when θ is differentiated. The same ζ is far weaker than in the L∞ ball.

    Example:
        >>> ball = nr.attacks.L2Ball(weight=0.1)
        >>> inside = ball.project({"weight": torch.tensor([[0.3, 0.4]])})["weight"]
        >>> inside.norm().item(), ball.radius("hidden.weight")
        (0.10000000149011612, 0.1)
    """

    def clip(self, delta: Tensor, radius: float) -> Tensor:
        return delta if _norm(delta) <= radius else radius * self.direction(delta)

    def direction(self, gradient: Tensor) -> Tensor:
        if not gradient.numel():
            return gradient
        finite = gradient.nan_to_num(nan=torch.nan)
        scaled = finite / finite.abs().max().clamp(min=torch.finfo(gradient.dtype).tiny)
        return scaled / _norm(scaled).clamp(min=torch.finfo(gradient.dtype).tiny)

    def sample_unit(self, zero: Tensor, generator: torch.Generator) -> Tensor:
        normal = torch.randn(zero.shape, generator=generator, dtype=zero.dtype).to(zero.device)
        distance = torch.rand((), generator=generator, dtype=torch.float64).item() ** (1 / max(zero.numel(), 1))
        return distance * self.direction(normal)


def _norm(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor)
