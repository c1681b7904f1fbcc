"""A ball that depends on the parameters: the tolerance corners of a chip."""

from __future__ import annotations

from .._util.errors import check_number
from ..attacks import Ball
from ..chip import ChipModel
from ..core.params import Params
from ..core.placement import Placement
from .carrier import Carrier
from .reprogrammed_chip import EVERY, ReprogrammedChip


class ChipCorners(Carrier):
    """The ball of :class:`Adversarial`: every element between its chip's tolerance corners, u = ±sigmas.

    The deviation that a law gives for u depends on the programmed values. So the corners are computed again in every
    batch, at the present parameters and at the gains of the last programming. Use it as ``Adversarial(loss, attack,
    ChipCorners(chip), beta)``. No probability belongs to this ball; :meth:`neurorobust.Ball.from_chip` says why.

    Args:
        chip: a chip model. sigmas: standard deviations, > 0.
        every: batches from one programming to the next.

    Raises:
        ValueError: ``sigmas`` is not above 0.

    Example:
        >>> import chipmodels
        >>> corners = nr.regularizers.ChipCorners(chipmodels.load("dynapse2"), sigmas=2.0)
        >>> loss = nr.regularizers.Adversarial(nn.functional.cross_entropy, nr.attacks.PGA(steps=3), corners, beta=0.4)
        >>> loss.ball.sigmas
        2.0
    """

    def __init__(self, chip: ChipModel, sigmas: float = 1.0, every: int = EVERY):
        self.reprogrammed = ReprogrammedChip(chip, every)
        self.sigmas = check_number("sigmas", sigmas, strict=True)

    def __repr__(self) -> str:
        return f"ChipCorners({self.reprogrammed!r}, sigmas={self.sigmas:g})"

    def __call__(self, params: Params, placement: Placement) -> Ball:
        programmed = self.reprogrammed.batch(params, placement)
        return Ball.from_chip(self.reprogrammed.chip, programmed, sigmas=self.sigmas)
