"""The paper's regularizer."""

from __future__ import annotations

from torch import Tensor

from ..attacks import Attack, Ball
from ..errors import check_number
from ..params import apply, expand, forward
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class Adversarial(Regularizer):
    """L = inner + beta · D(f(θ), f(θ*)), θ* = apply(θ, δ*) with δ* found by the attack on this batch.

    δ* is held constant when θ is differentiated, so the gradient reaches θ through the clean output and through θ*
    with the Jacobian 1 + sign(θ)·δ* (e^δ* on positive kinds; arXiv 2106.05009).

    Args:
        inner: loss(logits, y) or another regularizer.
        attack: its first objective is D as well as what it raises. PGA(project=False) repeats the authors' code.
        ball: how far it may go.
        beta: weight of the robustness term, ≥ 0.
        treat_as_constant: take θ* = θ + a constant instead, so that its Jacobian is 1, the paper's variant.
    """

    def __init__(
        self,
        inner: Criterion | Regularizer,
        attack: Attack,
        ball: Ball,
        beta: float,
        *,
        treat_as_constant: bool = False,
    ):
        if not isinstance(attack, Attack):
            raise TypeError(f"attack: got {attack!r}; expected one Attack such as PGA: a suite is for judging.")
        if not isinstance(ball, Ball):
            raise TypeError(f"ball: got {ball!r}; expected a Ball such as nr.Ball.uniform(0.1).")
        self.inner = as_regularizer(inner)
        self.attack = attack
        self.ball = ball
        self.beta = check_number("beta", beta)
        self.treat_as_constant = treat_as_constant

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
            project=self.attack.project,
        )
        star = apply(step.params, worst, step.placement)
        if self.treat_as_constant:
            plain = expand(step.params, step.placement)
            star |= {name: star[name].detach() + (plain[name] - plain[name].detach()) for name in worst}
        attacked = forward(step.network, star, step.x)[0]
        return self.inner.total(step) + self.beta * divergence(attacked, step.clean[0], step.y)
