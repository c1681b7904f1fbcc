"""Suites: several attacks of which the worst die counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._util.errors import check_count
from .apgd import APGD
from .attack import Attack
from .objectives import Objective
from .pga import PGA
from .random_search import RandomSearch

ANYWHERE = float("inf")


@dataclass(frozen=True)
class Suite:
    """Attacks, each with its number of restarts; :func:`neurorobust.worst_case` runs them all, the worst counts."""

    members: tuple[tuple[Attack, int], ...]

    @property
    def passes(self) -> int:
        """Forward passes of all members."""
        return sum(restarts * member.passes for member, restarts in self.members)


def thorough(steps: int = 30, restarts: int = 3, losses: Sequence[str | Objective] = ("ce", "margin")) -> Suite:
    """A suite for everyday use: 328 forward passes with the defaults. Figures that others shall compare with come from
    :func:`neurorobust.evaluation.strong_worst_case`, which also uses other surrogates and finds worse dies.

    For each loss: ``steps`` projected steps of 2.5 ζ/steps, ``restarts`` times, one from near the centre and the others
    from anywhere in the ball; and :class:`APGD` with ``steps`` passes, from near the centre and ``restarts // 2`` times
    from anywhere. It contains the ten-step attack and random search with the same seeds, so it is never weaker than
    they are.

    Args:
        steps: gradient steps of each restart.
        restarts: searches for each loss.
        losses: objectives, names in ``OBJECTIVES`` or functions; ``("mse",)`` for regression. The ten-step attack
            maximises KL, as published, unless neither ``"ce"`` nor ``"margin"`` is among them: then the first.
    """
    check_count("steps", steps)
    check_count("restarts", restarts)
    if isinstance(losses, str) or not losses:
        raise ValueError(f"losses: got {losses!r}; expected at least one in a tuple, such as ('ce', 'margin').")
    classes = "ce" in losses or "margin" in losses
    members: list[tuple[Attack, int]] = [
        (PGA(steps=10, objective="kl" if classes else losses[0]), 1),
        (RandomSearch(steps=10, objective="ce" if classes else losses[0]), 1),
    ]
    for loss in losses:
        members += [
            (PGA(steps, 1e-3, loss, stride=2.5), 1),
            (PGA(steps, ANYWHERE, loss, stride=2.5), restarts - 1),
            (APGD(max(steps - 1, 1), 1e-3, loss), 1),
            (APGD(max(steps - 1, 1), ANYWHERE, loss), restarts // 2),
        ]
    return Suite(tuple(member for member in members if member[1]))
