"""Adversarial training against the worst standard normals behind a die."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_number
from ..attacks import PGA, Attack
from ..attacks.whitened_ball import WhitenedBall
from ..chip import ChipModel, Programmed, mismatch
from ..core.apply import apply
from ..core.params import Deviations
from ..core.run import forward
from .adversarial import check_attack
from .following import EVERY, Following
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class Whitened(Regularizer):
    """L = inner + beta · D(f(θ), f(θ*)), θ* the die whose standard normals u, ‖u‖₂ ≤ norm, the attack found worst.

    ::

        δ* = law(u*; θ),    θ* = apply(θ, δ*),    δ* held constant when θ is differentiated

    The attack moves all elements that exist together, each as far as a chip's law lets it for its u, so what spreads
    more is attacked more. To first order ‖u‖ = k is a die k standard deviations out, along the worst direction.

    What is approximated: the u of all elements are taken as independent, what neighbours or kinds of a die have in
    common is not; devices with more normals than one vary by their first.

    Args:
        inner: loss(logits, y) or another regularizer.
        attack: its first objective is D as well as what it raises.
        chip: whose laws. Without quantization, at the gains it chooses; ``ProgrammedOn(Whitened(…), chip)`` has both.
        norm: k. beta: weight of the robustness term, ≥ 0.
        every: batches from one programming to the next.

    Raises:
        ValueError: the chip cannot hold the parameters.
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
        self.following = Following(chip, every)
        self.ball = WhitenedBall(norm)
        self.beta = check_number("beta", beta)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, PGA(2), mismatch(0.1), 3.0, 0.5 * strength)

    def total(self, step: Step) -> Tensor:
        constant, clean = {name: value.detach() for name, value in step.params.items()}, step.clean[0].detach()
        programmed = self.following.batch(constant, step.placement)
        masks = {
            name: programmed.placement.masks.get(name, torch.ones_like(value, dtype=torch.bool))
            for name, value in programmed.expanded().items()
        }
        center = {name: programmed.params[name].new_zeros(int(mask.sum())) for name, mask in masks.items()}
        divergence = self.attack.objectives[0]
        worst = self.attack.search(
            lambda u: divergence(step.logits(constant, self._die(u, masks, programmed)), clean, step.y),
            center,
            self.ball,
            step.generator,
            project=self.attack.project,
        )
        star = apply(step.params, self._die(worst, masks, programmed), step.placement)
        attacked = forward(step.network, star, step.x)[0]
        return self.inner.total(step) + self.beta * divergence(attacked, step.clean[0], step.y)

    def _die(self, u: Deviations, masks: Deviations, programmed: Programmed) -> Deviations:
        """What standard normals of the elements that exist mean on this chip."""
        whole = {
            name: torch.zeros(mask.shape, dtype=u[name].dtype, device=mask.device).masked_scatter(mask, u[name])
            for name, mask in masks.items()
        }
        return self.following.chip.fabricate([0], 0)[0].deviate(whole, programmed)
