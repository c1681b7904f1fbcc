"""Adversarial training against the worst die (arXiv 2106.05009)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_number
from ..attacks import PGA, Attack, Ball, as_objective
from ..attacks.attack import GradientAscent
from ..core.apply import apply
from ..core.params import Deviations, Params
from ..core.placement import Placement, expand
from ..core.run import forward
from ..nn.network import Network
from .regularizer import Criterion, Regularizer, Step, as_regularizer

BallFactory = Callable[[Params, Placement], Ball]
"""Makes the ball of a batch from the parameters and their placement."""


class Adversarial(Regularizer):
    """Adversarial training against the worst die that an attack finds on each batch.

    ::

        L = inner + beta · D(f(θ), f(θ*)),    θ* = apply(θ, δ*),    δ* = worst deviations found by the attack

    D is the objective of the attack. δ* is a constant when θ is differentiated, so the gradient reaches θ through the
    clean output and through θ*, with the Jacobian 1 + sign(θ)·δ* (e^δ* on positive kinds; arXiv 2106.05009).

    Args:
        inner: loss(logits, y) or another regularizer.
        attack: finds δ*. PGA(project=False) repeats the authors' code.
        ball: the allowed deviations, or a function (params, placement) → Ball that is called in every batch, such as
            :class:`ChipCorners`.
        beta: weight of the robustness term, ≥ 0.
        treat_as_constant: take θ* = θ + a constant instead, so that its Jacobian is 1 (a variant of the paper).

    Raises:
        TypeError: no attack, or no ball. ValueError: ``beta`` is negative or not finite.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.tensor([[1.0, 0.8]]), torch.tensor([0]))
        >>> loss = nr.regularizers.Adversarial(
        ...     nn.functional.cross_entropy, nr.attacks.PGA(objective="ce"), nr.Ball.uniform(0.1), beta=0.5
        ... )
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> round(loss(model, params, batch, generator).item(), 3)  # plain: 0.598
        0.939
    """

    def __init__(
        self,
        inner: Criterion | Regularizer,
        attack: Attack,
        ball: Ball | BallFactory,
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
        attacked = self._attacked(step)
        return self.inner.total(step) + self.beta * as_objective(self.attack.objective)(attacked, step.clean[0], step.y)

    def _attacked(self, step: Step) -> Tensor:
        """f(θ*). A gradient ascent ends with a pass without a gradient in δ, mostly at the die that is its worst: that
        pass keeps its gradient in θ and is not run again. Modules that may draw random numbers run again."""
        kept: list[tuple[Deviations, Tensor]] = []

        def at(deviations: Deviations) -> Tensor:
            with torch.enable_grad():
                kept[:] = [(deviations, forward(step.network, self._star(step, deviations), step.x)[0])]
            return kept[0][1].detach()

        ascends = isinstance(self.attack, GradientAscent) and isinstance(step.network, Network)
        worst = worst_deviations(step, self.attack, self.ball, at if ascends else None)
        if not kept or kept[0][0] is not worst:
            at(worst)
        return kept[0][1]

    def _star(self, step: Step, deviations: Deviations) -> Params:
        """θ*."""
        star = apply(step.params, deviations, step.placement)
        if self.treat_as_constant:
            plain = expand(step.params, step.placement)
            star |= {name: star[name].detach() + (plain[name] - plain[name].detach()) for name in deviations}
        return star


def worst_deviations(
    step: Step, attack: Attack, ball: Ball | BallFactory, at: Callable[[Deviations], Tensor] | None = None
) -> Deviations:
    """The worst deviations that an attack finds on the batch of a step; no gradient flows through them. ``at`` gives
    the logits of a die whose gradient is not asked for."""
    constant, clean = step.constant, step.clean[0].detach()
    here, center = ball_and_center(step, ball)
    objective = as_objective(attack.objective)

    def loss(deviations: Deviations) -> Tensor:
        logits = step.logits(constant, deviations) if at is None or torch.is_grad_enabled() else at(deviations)
        return objective(logits, clean, step.y)

    return attack.search(loss, center, here, step.generator, project=attack.project)


def ball_and_center(step: Step, ball: Ball | BallFactory) -> tuple[Ball, Deviations]:
    """The ball at the parameters of a step, and its centre: zeros in expanded shapes.

    Raises:
        ValueError: the ball names no parameter of the network.
    """
    constant = {name: value.detach() for name, value in step.params.items()}
    here = ball if isinstance(ball, Ball) else ball(constant, step.placement)
    center = here.center(constant, step.placement)
    if not center:
        raise ValueError(f"ball: {ball} names no parameter of this network; name a kind it has.")
    return here, center


def check_attack(attack: Attack) -> Attack:
    """The attack itself; TypeError for anything else."""
    if not isinstance(attack, Attack):
        raise TypeError(f"attack: got {attack!r}; expected one Attack such as PGA; suites are for evaluation.")
    return attack


def check_ball(ball: Ball | BallFactory) -> Ball | BallFactory:
    """The ball or ball factory itself; TypeError for anything else."""
    if not isinstance(ball, Ball) and (not callable(ball) or isinstance(ball, type)):
        raise TypeError(
            f"ball: got {ball!r}; expected a Ball such as nr.Ball.uniform(0.1), or a function that returns one."
        )
    return ball
