"""Suites: several attacks of which the worst die counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._util.errors import check_count
from ..core.params import Deviations
from .apgd import APGD
from .attack import Attack
from .ball import Ball
from .objectives import Objective
from .pga import PGA
from .random_search import RandomSearch

ANYWHERE = float("inf")
QUICK = "quick-1"
"""Version of :func:`quick`."""


@dataclass(frozen=True)
class Suite:
    """Attacks, each with its number of restarts; :func:`neurorobust.worst_case` runs them all, the worst counts.

    Attributes:
        members: pairs (attack, restarts).
        version: name of a suite that never changes, so that results can be compared; None for any other.

    Example:
        >>> suite = nr.attacks.Suite(((nr.attacks.PGA(steps=10), 2), (nr.attacks.RandomSearch(steps=9), 1)))
        >>> suite.passes  # 2 · 11 of the gradient and 10 random dies
        32
    """

    members: tuple[tuple[Attack, int], ...]
    version: str | None = None

    @property
    def passes(self) -> int:
        """Forward passes of all members."""
        return sum(restarts * member.passes for member, restarts in self.members)


def restarted(attack: Attack | Suite, restarts: int) -> Suite:
    """Every member of a suite, or one attack, from so many different starts.

    Several restarts of a suite are another suite, of no version.

    Args:
        attack: an attack or a suite.
        restarts: searches in place of each one.

    Raises:
        TypeError: no attack. ValueError: ``restarts`` below 1.

    Example:
        >>> nr.attacks.restarted(nr.attacks.PGA(steps=10), 3).passes, nr.attacks.restarted(nr.attacks.quick(), 2).passes
        (33, 66)
    """
    restarts = check_count("restarts", restarts)
    if not isinstance(attack, Attack | Suite):
        raise TypeError(f"attack: got {attack!r}; expected one such as nr.attacks.quick() or nr.attacks.thorough().")
    if isinstance(attack, Suite) and restarts == 1:
        return attack
    members = attack.members if isinstance(attack, Suite) else ((attack, 1),)
    return Suite(tuple((member, n * restarts) for member, n in members))


def count_passes(suite: Suite) -> tuple[int, int]:
    """Forward passes with and without a gradient, counted in a dry run on a single number instead of a network."""
    n_with = n_without = 0
    calls: list[bool] = []

    def loss(deviations: Deviations) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return deviations["weight"].sum()

    for member, restarts in suite.members:
        calls.clear()
        member.search(loss, {"weight": torch.zeros(1)}, Ball(weight=1.0), torch.Generator())
        n_with += restarts * sum(calls)
        n_without += restarts * (len(calls) - sum(calls))
    return n_with, n_without


def quick(*, regression: bool = False) -> Suite:
    """The suite quick-1: the ten-step attack of arXiv 2106.05009 on KL, on cross-entropy and on the margin, through the
    network's own surrogate; 33 passes. For a regression on the squared error; 11 passes.

    It is the default of :func:`neurorobust.worst_case`, and :func:`neurorobust.fit` chooses the epoch by it. On KL
    alone, ten steps can find almost nothing where cross-entropy finds most of what the strong suite finds, so they can
    reverse the order of two networks. Where this suite finds nothing, that proves nothing; numbers to publish come from
    :func:`neurorobust.evaluation.strong_worst_case`.

    Args:
        regression: whether the data have targets, not classes.

    Example:
        >>> suite = nr.attacks.quick()
        >>> suite.version, suite.passes
        ('quick-1', 33)
    """
    objectives = ("mse",) if regression else ("kl", "ce", "margin")
    return Suite(tuple((PGA(steps=10, objective=objective), 1) for objective in objectives), QUICK)


def thorough(steps: int = 30, restarts: int = 3, losses: Sequence[str | Objective] = ("ce", "margin")) -> Suite:
    """A suite for everyday use: 350 forward passes with the defaults. Figures that others shall compare with come from
    :func:`neurorobust.evaluation.strong_worst_case`, which also uses other surrogates and finds worse dies.

    For each loss: ``steps`` projected steps of 2.5 ζ/steps, ``restarts`` times, one from near the centre and the others
    from anywhere in the ball; and :class:`APGD` with ``steps`` passes, from near the centre and ``restarts // 2`` times
    from anywhere. It contains :func:`quick` and random search with the same seeds, so it is never weaker than they are.

    Args:
        steps: gradient steps of each restart.
        restarts: searches for each loss.
        losses: objectives, names in ``OBJECTIVES`` or functions; ``("mse",)`` for regression. :func:`quick` is
            contained if ``"ce"`` or ``"margin"`` is among them; else ten steps on the first.

    Raises:
        ValueError: ``steps`` or ``restarts`` below 1, or no loss.

    Example:
        >>> nr.attacks.thorough().passes, nr.attacks.thorough(steps=10, restarts=1).passes
        (350, 86)
    """
    steps = check_count("steps", steps)
    restarts = check_count("restarts", restarts)
    if isinstance(losses, str) or not losses:
        raise ValueError(f"losses: got {losses!r}; expected at least one in a tuple, such as ('ce', 'margin').")
    classes = "ce" in losses or "margin" in losses
    members: list[tuple[Attack, int]] = [
        *(quick().members if classes else ((PGA(steps=10, objective=losses[0]), 1),)),
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
