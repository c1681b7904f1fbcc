"""What every attack shares: the search that keeps it inside its ball and remembers the worst point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import check_count, check_number
from ..params import Deviations
from .ball import Ball
from .objectives import Objective, objective

Loss = Callable[[Deviations], Tensor]


@dataclass(frozen=True, eq=False)
class Point:
    """A place that was looked at: its deviations, the loss there and the loss's slope in them."""

    deviations: Deviations
    value: float
    slopes: Deviations


class Search:
    """One search under way: the attack looks through it, at nothing outside the ball, and it remembers the worst.

    Attributes:
        center: zeros of the right shapes.
        ball, generator: where to look, and the only source of random numbers.
        worst, worst_value: the highest loss so far; without ``project``, the last point instead.
    """

    def __init__(self, loss: Loss, center: Deviations, ball: Ball, generator: torch.Generator, *, project: bool = True):
        self.loss, self.center, self.ball, self.generator, self.project = loss, center, ball, generator, project
        self.worst, self.worst_value = center, -torch.inf
        self._looks = 0

    def look(self, deviations: Deviations) -> float:
        """The loss at the nearest deviations in the ball."""
        here = self._inside(deviations)
        with torch.no_grad():
            value = float(self.loss(here))
        self._remember(here, value)
        return value

    def slope(self, deviations: Deviations) -> Point:
        """The nearest deviations in the ball, the loss and its slope there; 0 for what the loss does not depend on."""
        here = self._inside(deviations)
        leaves = {name: delta.requires_grad_() for name, delta in here.items()}
        value = self.loss(leaves)
        if not value.requires_grad:
            raise ValueError(
                "loss: does not depend on any deviation in the ball through a gradient; use RandomSearch or SPSA."
            )
        gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
        here = {name: delta.detach() for name, delta in here.items()}
        self._remember(here, value.item())
        return Point(here, value.item(), dict(zip(here, gradients)))

    def _inside(self, deviations: Deviations) -> Deviations:
        inside = self.ball.project(deviations) if self.project else deviations
        return {name: delta.detach() for name, delta in inside.items()}

    def _remember(self, deviations: Deviations, value: float) -> None:
        if not self._looks or not self.project or value > self.worst_value:
            self.worst, self.worst_value = deviations, -torch.inf if value != value else value
        self._looks += 1


@dataclass(frozen=True)
class Attack(ABC):
    """A search for the worst deviations inside a ball.

    A subclass names its objectives and its number of passes and implements :meth:`explore`, whose local variables are
    the only state there is. The search projects whatever it looks at and keeps the worst, so no attack can leave its
    ball.
    """

    @property
    @abstractmethod
    def passes(self) -> int:
        """Forward passes of one search."""

    @property
    @abstractmethod
    def objectives(self) -> tuple[Objective, ...]:
        """What it raises; :func:`neurorobust.worst_case` runs it once for each."""

    @property
    def project(self) -> bool:
        """Whether training keeps it in the ball, too; :func:`neurorobust.worst_case` always does."""
        return True

    @abstractmethod
    def explore(self, search: Search) -> None:
        """Look at points: ``search.look(deviations)`` or, with the slope, ``search.slope(deviations)``."""

    def search(
        self, loss: Loss, center: Deviations, ball: Ball, generator: torch.Generator, *, project: bool = True
    ) -> Deviations:
        """The deviations with the highest loss among all that were looked at, always inside the ball.

        Args:
            loss: deviations → scalar. center: zeros of the right shapes.
            ball, generator: how far to go, and the random numbers.
            project: False for :class:`PGA`'s reproduction of published figures: no projection, the last point counts.
        """
        search = Search(loss, center, ball, generator, project=project)
        self.explore(search)
        return search.worst


class OneObjective(Attack):
    """An attack on the one objective that its field ``divergence`` names."""

    divergence: str | Objective

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (objective(self.divergence),)


class Ascent(OneObjective):
    """An attack that climbs from near the centre, or from anywhere, in a number of gradient steps.

    A subclass is a dataclass with the fields ``steps``, ``init_std`` and ``divergence``.
    """

    steps: int
    init_std: float

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        if self.init_std != float("inf"):
            check_number("init_std", self.init_std, strict=True)
        objective(self.divergence)

    @property
    def passes(self) -> int:
        return self.steps + 1

    def start(self, search: Search) -> Deviations:
        """N(0, init_std²) for every element; with ``init_std`` infinity, uniform in the ball."""
        if self.init_std == float("inf"):
            return search.ball.draw(search.center, search.generator)
        return {
            name: self.init_std * torch.randn(zero.shape, generator=search.generator, dtype=zero.dtype).to(zero.device)
            for name, zero in search.center.items()
        }
