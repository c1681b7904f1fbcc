"""A ball that follows the parameters: the tolerance corners of a chip."""

from __future__ import annotations

from .._util.errors import check_number
from ..attacks import Ball
from ..chip import ChipModel
from ..core.params import Params
from ..core.placement import Placement
from .carrier import Carrier
from .following import EVERY, Following


class ChipCorners(Carrier):
    """The ball of :class:`Adversarial`: every element between its chip's tolerance corners, u = ±sigmas.

    What a law makes of u depends on what is programmed, so the corners are computed in every batch anew, at the
    parameters as they are and at the gains of the last programming. ``Adversarial(loss, attack, ChipCorners(chip),
    beta)``; see :meth:`neurorobust.Ball.from_chip`, which says why no probability is attached.

    Args:
        chip: a chip model. sigmas: standard deviations, > 0.
        every: batches from one programming to the next.
    """

    def __init__(self, chip: ChipModel, sigmas: float = 1.0, every: int = EVERY):
        self.following = Following(chip, every)
        self.sigmas = check_number("sigmas", sigmas, strict=True)

    def __repr__(self) -> str:
        return f"ChipCorners({self.following!r}, sigmas={self.sigmas:g})"

    def __call__(self, params: Params, placement: Placement) -> Ball:
        programmed = self.following.batch(params, placement)
        return Ball.from_chip(self.following.chip, programmed, sigmas=self.sigmas)
