"""Adversarial training against the worst standard normals behind a die."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_number
from ..attacks import PGA, Attack, as_objective
from ..attacks.whitened_ball import WhitenedBall
from ..chip import ChipModel, Programmed, mismatch
from ..core.apply import apply
from ..core.params import Deviations
from ..core.run import forward
from .adversarial import check_attack
from .regularizer import Criterion, Regularizer, Step, as_regularizer
from .reprogrammed_chip import EVERY, ReprogrammedChip


class Whitened(Regularizer):
    """Adversarial training against the worst die whose standard normals u satisfy ‖u‖₂ ≤ norm.

    ::

        L = inner + beta · D(f(θ), f(θ*)),    δ* = law(u*; θ),    θ* = apply(θ, δ*)

    u* is found by the attack, D is its objective, and δ* is a constant when θ is differentiated. The attack moves all
    existing elements together, each by what the chip's law makes of its u: parameters that vary more are attacked more.
    To first order ‖u‖ = k is a die at k standard deviations along the worst direction.

    Approximations: the u of all elements are independent, so correlations between neighbours or kinds are ignored;
    devices with several normals vary by their first one.

    Args:
        inner: loss(logits, y) or another regularizer.
        attack: finds u*.
        chip: the model whose laws apply, without quantization, at the gains that it chooses;
            ``ProgrammedOn(Whitened(…), chip)`` has both.
        norm: k. beta: weight of the robustness term, ≥ 0.
        every: batches from one programming to the next.

    Raises:
        ValueError: the chip cannot hold the parameters.

    Example:
        >>> import chipmodels
        >>> attack, chip = nr.attacks.PGA(steps=3), chipmodels.load("dynapse2")
        >>> loss = nr.regularizers.Whitened(nn.functional.cross_entropy, attack, chip, norm=3.0, beta=0.4)
        >>> loss.ball.norm  # to first order the worst die at three standard deviations
        3.0
    """

    def __init__(
        self,
        inner: Criterion | Regularizer,
        attack: Attack,
        chip: ChipModel,
        norm: float,
        beta: float,
        *,
        every: int = EVERY,
    ):
        self.inner = as_regularizer(inner)
        self.attack = check_attack(attack)
        self.reprogrammed = ReprogrammedChip(chip, every)
        self.ball = WhitenedBall(norm)
        self.beta = check_number("beta", beta)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, PGA(2), mismatch(0.1), 3.0, 0.5 * strength)

    def total(self, step: Step) -> Tensor:
        constant, clean = {name: value.detach() for name, value in step.params.items()}, step.clean[0].detach()
        programmed = self.reprogrammed.batch(constant, step.placement)
        masks = {
            name: programmed.placement.masks.get(name, torch.ones_like(value, dtype=torch.bool))
            for name, value in programmed.expanded().items()
        }
        center = {name: programmed.params[name].new_zeros(int(mask.sum())) for name, mask in masks.items()}
        objective = as_objective(self.attack.objective)
        worst = self.attack.search(
            lambda u: objective(step.logits(constant, self._die(u, masks, programmed)), clean, step.y),
            center,
            self.ball,
            step.generator,
            project=self.attack.project,
        )
        star = apply(step.params, self._die(worst, masks, programmed), step.placement)
        attacked = forward(step.network, star, step.x)[0]
        return self.inner.total(step) + self.beta * objective(attacked, step.clean[0], step.y)

    def _die(self, u: Deviations, masks: Deviations, programmed: Programmed) -> Deviations:
        """The deviations of the die with these standard normals of the existing elements."""
        whole = {
            name: torch.zeros(mask.shape, dtype=u[name].dtype, device=mask.device).masked_scatter(mask, u[name])
            for name, mask in masks.items()
        }
        return self.reprogrammed.chip.fabricate([0], 0)[0].deviate(whole, programmed)
