"""Random search: the control every attack must beat at the same number of forward passes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import check_count
from ..params import Deviations
from .attack import Attack, Loss, uniform
from .ball import Ball
from .objectives import Objective, objective


@dataclass(frozen=True)
class RandomSearch(Attack):
    """``steps`` + 1 draws, each uniform in the ball; the worst counts. PGA of as many steps makes as many passes."""

    steps: int = 10
    divergence: str | Objective = "ce"

    def __post_init__(self) -> None:
        check_count("steps", self.steps, 0)
        objective(self.divergence)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (objective(self.divergence),)

    def start(self, center: Deviations, ball: Ball, generator: torch.Generator) -> Deviations:
        return uniform(center, ball, generator)

    def step(
        self, deviations: Deviations, loss: Loss, ball: Ball, generator: torch.Generator
    ) -> tuple[float, Deviations]:
        with torch.no_grad():
            value = float(loss(deviations))
        return value, uniform(deviations, ball, generator)
