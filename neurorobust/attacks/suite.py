"""Several attacks as one: the worst counts."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import check_count
from .attack import Attack
from .pga import PGA
from .random_search import RandomSearch


@dataclass(frozen=True)
class Suite:
    """Attacks, each with its number of restarts; :func:`neurorobust.worst_case` runs them all, the worst counts."""

    members: tuple[tuple[Attack, int], ...]


def strong(steps: int = 30, restarts: int = 3) -> Suite:
    """The strong suite, beside every weaker figure.

    For cross-entropy and for the margin loss: ``steps`` projected steps of 2.5 ζ/steps, ``restarts`` times, one from
    near the centre and the others from anywhere in the ball. The ten-step attack and random search are among its
    candidates with the same seeds, so it is never weaker than they.

    Args:
        steps: gradient steps of each restart.
        restarts: searches for each loss.
    """
    check_count("restarts", restarts)
    members: list[tuple[Attack, int]] = [(PGA(steps=10), 1), (RandomSearch(steps=10), 1)]
    for divergence in ("ce", "margin"):
        members.append((PGA(steps, 1e-3, divergence, stride=2.5), 1))
        if restarts > 1:
            members.append((PGA(steps, float("inf"), divergence, stride=2.5), restarts - 1))
    return Suite(tuple(members))
