"""Descent of the local entropy."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_count, check_number
from .coordinates import coordinate, trained, value_and_grad
from .regularizer import Criterion, Regularizer, Step, as_regularizer

ALPHA = 0.75
MOMENTUM = 0.9


class EntropySGD(Regularizer):
    """The gradient of the local entropy, from Langevin steps around θ; ``steps`` passes. The value is the inner loss.

    ::

        v ← 0.9 v + ∇L(θ′)                                          θ′ = μ = θ and v = 0 at first
        θ′ ← θ′ − rate · (∇L(θ′) + 0.9 v + γ (θ′ − θ)) + √(2 rate) · noise · N(0, 1)
        μ ← 0.75 μ + 0.25 θ′
        gradient in θ: (θ − μ)/c,   c such that a constant ∇L is returned unchanged

    γ = scope · (1 + growth)^batches, at most 1/rate, beyond which the steps diverge. After many steps the gradient is
    that of min over θ′ of L(θ′) + γ/20 ‖θ′ − θ‖²: momentum makes γ a tenth of itself. Chaudhari et al. 2017, arXiv
    1611.01838, with the settings of arXiv 2106.05009. Positive kinds move in their logarithm; absent synapses get no
    noise.

    Differences: the caller's optimizer takes the gradient, not SGD with Nesterov's momentum (c has no effect on Adam).
    All steps use one batch, as in the code of arXiv 2106.05009; the original draws one for each step. In both codes the
    number of batches stays 0, so γ never grew: hence growth = 0 here; their setting is 1e-3.

    Args:
        inner: loss(logits, y) or another regularizer.
        steps: L. rate: of the Langevin steps.
        scope: γ of the first batch, ≥ 0. growth: of γ, from batch to batch.
        noise: ≥ 0.

    Raises:
        ValueError: ``steps`` below 1, ``rate`` not above 0, or another negative number.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.tensor([[1.0, 0.8]]), torch.tensor([0]))
        >>> loss = nr.regularizers.EntropySGD(nn.functional.cross_entropy, steps=5)
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> round(loss(model, params, batch, generator).item(), 3)  # the plain value; its gradient is another
        0.598
    """

    def __init__(
        self,
        inner: Criterion | Regularizer,
        steps: int = 10,
        rate: float = 0.1,
        *,
        scope: float = 1e-2,
        growth: float = 0.0,
        noise: float = 1e-4,
    ):
        self.inner = as_regularizer(inner)
        self.steps = check_count("steps", steps)
        self.rate = check_number("rate", rate, strict=True)
        self.scope = check_number("scope", scope)
        self.growth = check_number("growth", growth)
        self.noise = check_number("noise", noise)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, 3 if strength else 1, noise=1e-4 * strength)

    def total(self, step: Step) -> Tensor:
        names = trained(step.params)
        if not names:
            return self.inner.total(step)
        grown = self.count() * math.log1p(self.growth)
        gamma = math.exp(min(math.log(self.scope) + grown, -math.log(self.rate))) if self.scope else 0.0
        one = torch.ones((), dtype=torch.float64)
        walks = {name: _Walk(torch.zeros_like(step.params[name].detach())) for name in names}
        of_one = _Walk(torch.zeros_like(one))
        losses = []
        for _ in range(self.steps):
            value, gradient = value_and_grad(self.inner, step, {name: walk.far for name, walk in walks.items()})
            losses.append(value)
            for name, by in gradient.items():
                eta = torch.randn(by.shape, generator=step.generator, dtype=by.dtype).to(by.device)
                if name in step.placement.masks:
                    eta = eta * step.placement.masks[name]
                walks[name].go(by, self.rate, gamma, math.sqrt(2 * self.rate) * self.noise * eta)
            of_one.go(one, self.rate, gamma, torch.zeros_like(one))
        total = losses[0]
        for name in names:
            here = coordinate(name, step.params[name])
            total = total + ((here - here.detach()) * walks[name].mean / float(of_one.mean)).sum()
        return total


class _Walk:
    """θ′ − θ, μ − θ and v of one parameter."""

    def __init__(self, zero: Tensor):
        self.far = self.mean = self.speed = zero

    def go(self, by: Tensor, rate: float, gamma: float, jolt: Tensor) -> None:
        self.speed = MOMENTUM * self.speed + by
        self.far = self.far - rate * (by + MOMENTUM * self.speed + gamma * self.far) + jolt
        self.mean = ALPHA * self.mean + (1 - ALPHA) * self.far
