"""Projected gradient ascent."""

from __future__ import annotations

from dataclasses import dataclass

from .._util.errors import check_number
from .attack import Exploration, GradientAscent, Search
from .objectives import Objective


@dataclass(frozen=True)
class PGA(GradientAscent):
    """δ ← project(δ + (stride · ζ/steps) · d), N = ``steps`` times, d the ball's direction of steepest ascent: the sign
    of ∂loss/∂δ in the L∞ ball (arXiv 2106.05009 for stride = 1).

    On a signed kind a step moves θ* by stride · ζ·abs(θ)/N, as in the paper. A parameter of value 0 never moves.

    Args:
        steps: N, gradient steps.
        init_std: the start is N(0, init_std²), projected. At the centre itself the gradient of a divergence is 0.
            Infinity starts uniformly in the ball.
        objective: what is maximised: a name in ``OBJECTIVES`` (``"kl"``, ``"ce"``, ``"mse"``, …), or a function of
            (attacked outputs, clean outputs, targets).
        stride: length of all steps together, in radii.
        project: False only to reproduce published figures: in training (:class:`Adversarial`) nothing is projected and
            the last evaluation counts, as in the authors' code, so the start noise may leave the ball.

    Raises:
        ValueError: ``stride`` is not above 0.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, attack = nr.wrap(layer), nr.attacks.PGA(objective="ce")
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> [nr.worst_case(model, data, nr.Ball(weight=zeta), attack).score for zeta in (0.05, 0.2)]
        [1.0, 0.5]
    """

    steps: int = 10
    init_std: float = 1e-3
    objective: str | Objective = "kl"
    stride: float = 1.0
    project: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("stride", self.stride, strict=True)

    def explore(self, search: Search) -> Exploration[None]:
        deviations = self.start(search)
        for _ in range(self.steps):
            point = yield from search.value_and_grad(deviations)
            deviations = search.ball.ascent_step(point.deviations, point.gradient, self.stride / self.steps)
        yield from search.evaluate([deviations])
