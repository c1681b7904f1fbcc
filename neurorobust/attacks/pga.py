"""Projected gradient ascent."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import check_count, check_number
from ..params import Deviations
from .attack import Attack, Loss, uniform
from .ball import Ball
from .objectives import Objective, objective


@dataclass(frozen=True)
class PGA(Attack):
    """δ ← project(δ + (stride · ζ/steps) · sign(∂loss/∂δ)), N = ``steps`` times (arXiv 2106.05009 for stride = 1).

    On a signed kind a step moves θ* by stride · ζ·abs(θ)/N, the paper's. A parameter of value 0 never moves.

    Args:
        steps: N, gradient steps.
        init_std: the start is N(0, init_std²), projected; it must not be the centre, where a divergence has no slope.
            Infinity starts uniformly in the ball.
        divergence: ``"kl"``, ``"ce"`` or ``"margin"``, or a function of (attacked logits, clean logits, labels).
        stride: length of all steps together, in radii.
    """

    steps: int = 10
    init_std: float = 1e-3
    divergence: str | Objective = "kl"
    stride: float = 1.0

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        if self.init_std != float("inf"):
            check_number("init_std", self.init_std, strict=True)
        check_number("stride", self.stride, strict=True)
        objective(self.divergence)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (objective(self.divergence),)

    def start(self, center: Deviations, ball: Ball, generator: torch.Generator) -> Deviations:
        if self.init_std == float("inf"):
            return uniform(center, ball, generator)
        return {
            name: self.init_std * torch.randn(zero.shape, generator=generator, dtype=zero.dtype)
            for name, zero in center.items()
        }

    def step(
        self, deviations: Deviations, loss: Loss, ball: Ball, generator: torch.Generator
    ) -> tuple[float, Deviations]:
        leaves = {name: delta.detach().requires_grad_() for name, delta in deviations.items()}
        value = loss(leaves)
        gradients = torch.autograd.grad(value, list(leaves.values()))
        length = self.stride / self.steps
        return value.item(), {
            name: deviations[name] + length * ball.radius(name) * gradient.sign()
            for name, gradient in zip(leaves, gradients)
        }
