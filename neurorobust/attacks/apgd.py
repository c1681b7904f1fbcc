"""Gradient ascent with an adaptive step size (Auto-PGD)."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.params import Deviations
from .attack import Evaluation, Exploration, GradientAscent, Search
from .objectives import Objective

MOMENTUM = 0.75
RISING = 0.75


@dataclass(frozen=True)
class APGD(GradientAscent):
    """Auto-PGD (Croce and Hein 2020, arXiv 2003.01690): momentum, and a step size that is halved when progress stops.

    ::

        z[k]   = project(δ[k] + η · ζ · d[k])                        d the ball's steepest ascent, η = 2 at first
        δ[k+1] = project(δ[k] + 0.75 (z[k] − δ[k]) + 0.25 (δ[k] − δ[k−1]))

    At each of :func:`checkpoints` η is halved and the search goes back to its best point if fewer than 0.75 of the
    steps since the last checkpoint raised the loss, or if neither η nor the best loss has changed since then.

    Args:
        steps: N, gradient steps.
        init_std: the start is N(0, init_std²), projected; infinity starts uniformly in the ball.
        objective: see :class:`PGA`.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> found = nr.worst_case(nr.wrap(layer), data, nr.Ball.uniform(0.2), nr.attacks.APGD(steps=5))
        >>> found.nominal, found.score
        (1.0, 0.5)
    """

    steps: int = 30
    init_std: float = 1e-3
    objective: str | Objective = "ce"

    def explore(self, search: Search) -> Exploration[None]:
        point = best = yield from search.value_and_grad(self.start(search))
        deviations = search.ball.ascent_step(point.deviations, point.gradient, eta := 2.0)
        rises, last, checked, marks = 0, 0, (eta, best.value), checkpoints(self.steps)
        for k in range(1, self.steps):
            before, point = point, (yield from search.value_and_grad(deviations))
            rises += point.value > before.value
            if point.value > best.value:
                best = point
            if k in marks:
                stuck = rises < RISING * (k - last) or checked == (eta, best.value)
                rises, last, checked = 0, k, (eta, best.value)
                if stuck:
                    point, eta = best, eta / 2
            deviations = _step_with_momentum(search, before, point, eta)
        yield from search.evaluate([deviations])


def _step_with_momentum(search: Search, before: Evaluation, point: Evaluation, eta: float) -> Deviations:
    """δ[k+1] from δ[k−1] and δ[k], not projected."""
    z = search.ball.project(search.ball.ascent_step(point.deviations, point.gradient, eta))
    return {
        name: delta + MOMENTUM * (z[name] - delta) + (1 - MOMENTUM) * (delta - before.deviations[name])
        for name, delta in point.deviations.items()
    }


def checkpoints(steps: int) -> tuple[int, ...]:
    """⌈p[j] · steps⌉ with p = 0.22, 0.41, … up to 1: p[j+1] = p[j] + max(p[j] − p[j−1] − 0.03, 0.06), p[0] = 0.

    Example:
        >>> checkpoints(100)
        (22, 41, 57, 70, 80, 87, 93, 99)
    """
    percent, stretch, found = 22, 22, []
    while percent <= 100:
        found.append(-(-percent * steps // 100))
        stretch = max(stretch - 3, 6)
        percent += stretch
    return tuple(found)
