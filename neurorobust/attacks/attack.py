"""One search loop; an attack overrides how it starts and how it steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..params import Deviations
from .ball import Ball
from .objectives import Objective

Loss = Callable[[Deviations], Tensor]


@dataclass(frozen=True)
class Attack(ABC):
    """A search for the worst deviations inside a ball.

    A subclass implements :meth:`start` and :meth:`step`, names its objectives and its number of steps; the loop
    projects whatever they return and keeps the best iterate, so no attack can leave its ball.
    """

    @property
    @abstractmethod
    def steps(self) -> int:
        """Iterates after the start."""

    @property
    @abstractmethod
    def objectives(self) -> tuple[Objective, ...]:
        """What it raises; :func:`neurorobust.worst_case` runs it once for each."""

    @abstractmethod
    def start(self, center: Deviations, ball: Ball, generator: torch.Generator) -> Deviations:
        """Where the search begins; ``center`` holds zeros of the right shapes."""

    @abstractmethod
    def step(
        self, deviations: Deviations, loss: Loss, ball: Ball, generator: torch.Generator
    ) -> tuple[float, Deviations]:
        """The loss at these deviations and the deviations to look at next."""

    def search(self, loss: Loss, center: Deviations, ball: Ball, generator: torch.Generator) -> Deviations:
        """The deviations with the highest loss among all that were visited, always inside the ball."""
        deviations = ball.project(self.start(center, ball, generator))
        best, best_value = deviations, -torch.inf
        for _ in range(self.steps):
            value, following = self.step(deviations, loss, ball, generator)
            if value > best_value:
                best, best_value = deviations, value
            deviations = ball.project(following)
        with torch.no_grad():
            value = float(loss(deviations))
        return deviations if value > best_value else best


def uniform(center: Deviations, ball: Ball, generator: torch.Generator) -> Deviations:
    """Deviations drawn uniformly in the ball."""
    return {
        name: ball.radius(name) * (2 * torch.rand(zero.shape, generator=generator, dtype=zero.dtype) - 1)
        for name, zero in center.items()
    }
