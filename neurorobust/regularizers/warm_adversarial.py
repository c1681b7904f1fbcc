"""The paper's regularizer at a third of its price."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_count, check_number
from ..attacks import Ball, objective
from ..attacks.attack import look_at
from ..attacks.objectives import Objective
from ..core.apply import apply
from ..core.params import Deviations
from ..core.run import forward
from .adversarial import Follow, around, check_ball
from .regularizer import Criterion, Regularizer, Step, as_regularizer

START = 1e-3


class WarmAdversarial(Regularizer):
    """:class:`Adversarial` whose search goes on where it was at the last batch; 2 + steps passes.

    ::

        δ ← project(δ + stride · ζ · d),    ``steps`` times a batch, d the ball's steepest ascent of D(f(θ), f(θ*))
        L = inner + beta · D(f(θ), f(θ*)),  θ* = apply(θ, δ), δ held constant

    An attack finds one die for all samples; so does this search, one batch at a time. δ is relative, so it means the
    same when the parameters have moved. It starts at N(0, 0.001²) and is carried in ``state()``.

    Args:
        inner: loss(logits, y) or another regularizer.
        ball: how far it may go, or a function (params, placement) → Ball.
        beta: weight of the robustness term, ≥ 0.
        steps: a batch. stride: of each, in radii; from 2 on, a step ends at the ball's border.
        divergence: D, a name in ``OBJECTIVES`` or a function.

    Raises:
        ValueError: what is carried is of another network; ``restore({})`` forgets it.
    """

    def __init__(
        self,
        inner: Criterion | Regularizer,
        ball: Ball | Follow,
        beta: float,
        *,
        steps: int = 1,
        stride: float = 0.5,
        divergence: str | Objective = "kl",
    ):
        self.inner = as_regularizer(inner)
        self.ball = check_ball(ball)
        self.beta = check_number("beta", beta)
        self.steps = check_count("steps", steps)
        self.stride = check_number("stride", stride, strict=True)
        self.divergence = objective(divergence)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, Ball.uniform(0.1), 0.5 * strength)

    def total(self, step: Step) -> Tensor:
        constant, clean = {name: value.detach() for name, value in step.params.items()}, step.clean[0].detach()
        ball, center = around(step, self.ball)

        def loss(deviations: Deviations) -> Tensor:
            return self.divergence(step.logits(constant, deviations), clean, step.y)

        here = self._carried_from(center, step.generator)
        for _ in range(self.steps):
            point = look_at(loss, ball.project(here), slope=True)
            here = ball.project(ball.climb(point.deviations, point.slopes, self.stride))
        self.carried.update(here)
        attacked = forward(step.network, apply(step.params, here, step.placement), step.x)[0]
        return self.inner.total(step) + self.beta * self.divergence(attacked, step.clean[0], step.y)

    def _carried_from(self, center: Deviations, generator: torch.Generator) -> Deviations:
        if not self.carried:
            return {
                name: START * torch.randn(zero.shape, generator=generator, dtype=zero.dtype).to(zero.device)
                for name, zero in center.items()
            }
        shapes = {name: tuple(delta.shape) for name, delta in self.carried.items()}
        if shapes != {name: tuple(zero.shape) for name, zero in center.items()}:
            raise ValueError(
                "params: the deviations that were carried here are of another network; make a new WarmAdversarial, or "
                "call its restore({}), for each network."
            )
        return {name: self.carried[name].to(zero) for name, zero in center.items()}
