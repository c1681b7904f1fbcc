"""The paper's regularizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from torch import Tensor

from .._util.errors import check_number
from ..attacks import PGA, Attack, Ball
from ..core.apply import apply
from ..core.params import Deviations, Params
from ..core.placement import Placement, expand
from ..core.run import forward
from .regularizer import Criterion, Regularizer, Step, as_regularizer

Follow = Callable[[Params, Placement], Ball]


class Adversarial(Regularizer):
    """L = inner + beta · D(f(θ), f(θ*)), θ* = apply(θ, δ*) with δ* found by the attack on this batch.

    δ* is held constant when θ is differentiated, so the gradient reaches θ through the clean output and through θ*
    with the Jacobian 1 + sign(θ)·δ* (e^δ* on positive kinds; arXiv 2106.05009).

    Args:
        inner: loss(logits, y) or another regularizer.
        attack: its first objective is D as well as what it raises. PGA(project=False) repeats the authors' code.
        ball: how far it may go, or a function (params, placement) → Ball that is asked in every batch, such as
            :class:`ChipCorners`.
        beta: weight of the robustness term, ≥ 0.
        treat_as_constant: take θ* = θ + a constant instead, so that its Jacobian is 1, the paper's variant.
    """

    def __init__(
        self,
        inner: Criterion | Regularizer,
        attack: Attack,
        ball: Ball | Follow,
        beta: float,
        *,
        treat_as_constant: bool = False,
    ):
        self.inner = as_regularizer(inner)
        self.attack = check_attack(attack)
        self.ball = check_ball(ball)
        self.beta = check_number("beta", beta)
        self.treat_as_constant = treat_as_constant

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, PGA(2), Ball.uniform(0.1), 0.5 * strength)

    def total(self, step: Step) -> Tensor:
        worst = find(step, self.attack, self.ball)
        star = apply(step.params, worst, step.placement)
        if self.treat_as_constant:
            plain = expand(step.params, step.placement)
            star |= {name: star[name].detach() + (plain[name] - plain[name].detach()) for name in worst}
        attacked = forward(step.network, star, step.x)[0]
        return self.inner.total(step) + self.beta * self.attack.objectives[0](attacked, step.clean[0], step.y)


def find(step: Step, attack: Attack, ball: Ball | Follow) -> Deviations:
    """The worst deviations of a batch, constants."""
    constant, clean = {name: value.detach() for name, value in step.params.items()}, step.clean[0].detach()
    here, center = around(step, ball)
    return attack.search(
        lambda deviations: attack.objectives[0](step.logits(constant, deviations), clean, step.y),
        center,
        here,
        step.generator,
        project=attack.project,
    )


def around(step: Step, ball: Ball | Follow) -> tuple[Ball, Deviations]:
    """The ball at the parameters of a step, and its centre.

    Raises:
        ValueError: nothing is in it.
    """
    constant = {name: value.detach() for name, value in step.params.items()}
    here = ball if isinstance(ball, Ball) else ball(constant, step.placement)
    center = here.center(constant, step.placement)
    if not center:
        raise ValueError(f"ball: {ball} names no parameter of this network; name a kind it has.")
    return here, center


def check_attack(attack: Attack) -> Attack:
    """The attack, or raise TypeError unless it is one."""
    if not isinstance(attack, Attack):
        raise TypeError(f"attack: got {attack!r}; expected one Attack such as PGA: a suite is for judging.")
    return attack


def check_ball(ball: Ball | Follow) -> Ball | Follow:
    """The ball, or raise TypeError unless it is one or makes one."""
    if not isinstance(ball, Ball) and (not callable(ball) or isinstance(ball, type)):
        raise TypeError(f"ball: got {ball!r}; expected a Ball such as nr.Ball.uniform(0.1), or a function to one.")
    return ball
