"""Projected gradient ascent."""

from __future__ import annotations

from dataclasses import dataclass

from .._util.errors import check_number
from .attack import Ascent, Asking, Search
from .objectives import Objective


@dataclass(frozen=True)
class PGA(Ascent):
    """δ ← project(δ + (stride · ζ/steps) · d), N = ``steps`` times, d the ball's direction of steepest ascent: the sign
    of ∂loss/∂δ in the L∞ ball (arXiv 2106.05009 for stride = 1).

    On a signed kind a step moves θ* by stride · ζ·abs(θ)/N, the paper's. A parameter of value 0 never moves.

    Args:
        steps: N, gradient steps.
        init_std: the start is N(0, init_std²), projected; it must not be the centre, where a divergence has no slope.
            Infinity starts uniformly in the ball.
        divergence: a name in ``OBJECTIVES`` (``"kl"``, ``"ce"``, ``"mse"``, …), or a function of (attacked outputs,
            clean outputs, targets).
        stride: length of all steps together, in radii.
        project: False only to reproduce published figures: in training (:class:`Adversarial`) nothing is projected and
            the last point counts, as in the authors' code, so the start noise may leave the ball.
    """

    steps: int = 10
    init_std: float = 1e-3
    divergence: str | Objective = "kl"
    stride: float = 1.0
    project: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("stride", self.stride, strict=True)

    def explore(self, search: Search) -> Asking[None]:
        following = self.start(search)
        for _ in range(self.steps):
            here = yield from search.slope(following)
            following = search.ball.climb(here.deviations, here.slopes, self.stride / self.steps)
        yield from search.look([following])
