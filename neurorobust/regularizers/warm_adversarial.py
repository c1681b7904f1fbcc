"""Adversarial training whose search continues from batch to batch."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_count, check_number
from ..attacks import Ball, as_objective
from ..attacks.attack import evaluate
from ..attacks.objectives import Objective
from ..core.apply import apply
from ..core.params import Deviations
from ..core.run import forward
from .adversarial import BallFactory, ball_and_center, check_ball
from .regularizer import Criterion, Regularizer, Step, as_regularizer

START = 1e-3


class WarmAdversarial(Regularizer):
    """:class:`Adversarial` with a search that continues from the deviations of the previous batch; 2 + steps passes.

    ::

        δ ← project(δ + stride · ζ · d),    ``steps`` times per batch, d the ball's steepest ascent of D(f(θ), f(θ*))
        L = inner + beta · D(f(θ), f(θ*)),  θ* = apply(θ, δ), δ held constant

    An attack finds one die for all samples; so does this search, one batch at a time. δ is relative, so it keeps its
    meaning when the parameters change. It starts at N(0, 0.001²) and is part of ``state()``.

    Args:
        inner: loss(logits, y) or another regularizer.
        ball: the allowed deviations, or a function (params, placement) → Ball.
        beta: weight of the robustness term, ≥ 0.
        steps: gradient steps per batch. stride: length of each, in radii; with 2 or more, a step ends at the border.
        objective: D, a name in ``OBJECTIVES`` or a function.

    Raises:
        ValueError: the carried deviations belong to another network; ``restore({})`` forgets them.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.tensor([[1.0, 0.8]]), torch.tensor([0]))
        >>> loss = nr.regularizers.WarmAdversarial(nn.functional.cross_entropy, nr.Ball.uniform(0.1), 1.0)
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> [round(loss(model, params, batch, generator).item(), 3) for _ in range(3)]  # the search goes on
        [0.599, 0.602, 0.602]
    """

    def __init__(
        self,
        inner: Criterion | Regularizer,
        ball: Ball | BallFactory,
        beta: float,
        *,
        steps: int = 1,
        stride: float = 0.5,
        objective: str | Objective = "kl",
    ):
        self.inner = as_regularizer(inner)
        self.ball = check_ball(ball)
        self.beta = check_number("beta", beta)
        self.steps = check_count("steps", steps)
        self.stride = check_number("stride", stride, strict=True)
        self.objective = as_objective(objective)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, Ball.uniform(0.1), 0.5 * strength)

    def total(self, step: Step) -> Tensor:
        constant, clean = step.constant, step.clean[0].detach()
        ball, center = ball_and_center(step, self.ball)

        def loss(deviations: Deviations) -> Tensor:
            return self.objective(step.logits(constant, deviations), clean, step.y)

        deviations = self._start(center, step.generator)
        for _ in range(self.steps):
            point = evaluate(loss, ball.project(deviations), gradient=True)
            deviations = ball.project(ball.ascent_step(point.deviations, point.gradient, self.stride))
        self.carried.update(deviations)
        attacked = forward(step.network, apply(step.params, deviations, step.placement), step.x)[0]
        return self.inner.total(step) + self.beta * self.objective(attacked, step.clean[0], step.y)

    def _start(self, center: Deviations, generator: torch.Generator) -> Deviations:
        """Where the last batch ended; at the first batch near the centre."""
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
