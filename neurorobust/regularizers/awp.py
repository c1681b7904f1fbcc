"""Adversarial weight perturbation."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from .._util.errors import check_number
from ..attacks import PGA, Attack, Ball
from ..core.apply import apply
from ..core.placement import expand
from .adversarial import BallFactory, check_attack, check_ball, worst_deviations
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class AWP(Regularizer):
    """The inner loss part of the way to the worst die; one pass besides those of the attack and the clean one.

    ::

        L(θ + γ (θ* − θ)),    θ* = apply(θ, δ*) with δ* found by the attack on this batch, γ (θ* − θ) held constant

    Wu et al. 2020, arXiv 2004.05884, as the rival of arXiv 2106.05009: γ = 0.1, the relative ball, the attack on the
    task's loss (``objective="ce"``), 10 steps. Difference: they attack the images, too.

    Args:
        inner: loss(logits, y) or another regularizer.
        attack: finds δ*.
        ball: the allowed deviations, or a function (params, placement) → Ball.
        gamma: γ, 0 to 1.

    Raises:
        TypeError: no attack, or no ball. ValueError: ``gamma`` is outside 0 to 1.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.tensor([[1.0, 0.8]]), torch.tensor([0]))
        >>> loss = nr.regularizers.AWP(
        ...     nn.functional.cross_entropy, nr.attacks.PGA(objective="ce"), nr.Ball.uniform(0.1), gamma=1.0
        ... )
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> round(loss(model, params, batch, generator).item(), 3)  # plain: 0.598
        0.682
    """

    def __init__(self, inner: Criterion | Regularizer, attack: Attack, ball: Ball | BallFactory, gamma: float = 0.1):
        self.inner = as_regularizer(inner)
        self.attack = check_attack(attack)
        self.ball = check_ball(ball)
        gamma = check_number("gamma", gamma)
        if gamma > 1:
            raise ValueError(f"gamma: got {gamma}; expected a fraction from 0 to 1.")
        self.gamma = float(gamma)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, PGA(2), Ball.uniform(0.1), 0.1 * strength)

    def total(self, step: Step) -> Tensor:
        constant = {name: value.detach() for name, value in step.params.items()}
        worst = worst_deviations(step, self.attack, self.ball)
        star, plain = apply(constant, worst, step.placement), expand(step.params, step.placement)
        perturbed = {name: plain[name] + self.gamma * (star[name] - plain[name].detach()) for name in worst}
        return self.inner.total(step.at(plain | perturbed))
