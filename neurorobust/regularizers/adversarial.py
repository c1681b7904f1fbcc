"""The paper's regularizer."""

from __future__ import annotations

from torch import Tensor

from ..attacks import Attack, Ball
from ..errors import check_number
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class Adversarial(Regularizer):
    """L = inner + beta · D(f(θ), f(θ*)), θ* = apply(θ, δ*) with δ* found by the attack on this batch.

    δ* is held constant when θ is differentiated, so the gradient reaches θ through the clean output and through θ*
    with the Jacobian 1 + sign(θ)·δ* (arXiv 2106.05009).

    Args:
        inner: loss(logits, y) or another regularizer.
        attack: its first objective is D as well as what it raises.
        ball: how far it may go.
        beta: weight of the robustness term, ≥ 0.
    """

    def __init__(self, inner: Criterion | Regularizer, attack: Attack, ball: Ball, beta: float):
        if not isinstance(attack, Attack):
            raise TypeError(f"attack: got {attack!r}; expected one Attack such as PGA: a suite is for judging.")
        self.inner = as_regularizer(inner)
        self.attack = attack
        self.ball = ball
        self.beta = check_number("beta", beta)

    def total(self, step: Step) -> Tensor:
        divergence = self.attack.objectives[0]
        constant = {name: value.detach() for name, value in step.params.items()}
        clean = step.clean[0].detach()
        center = self.ball.center(constant, step.placement)
        if not center:
            raise ValueError(f"ball: {self.ball} names no parameter of this network; name a kind it has.")
        worst = self.attack.search(
            lambda deviations: divergence(step.logits(constant, deviations), clean, step.y),
            center,
            self.ball,
            step.generator,
        )
        attacked = step.logits(step.params, worst)
        return self.inner.total(step) + self.beta * divergence(attacked, step.clean[0], step.y)
