"""Rare events over many standard normals: subset simulation with steps that do not mind the number of dimensions.

``P(response < target)`` is a product of conditional fractions, each near 0.1: thresholds come down one after the other,
and below each a population is moved by u ← √(1 − s²) u + s ξ, ξ a fresh draw, kept where the response stays at or below
the threshold (Au and Beck 2001; the step is Cotter et al.'s 2013, arXiv 1202.0709, and Papaioannou et al.'s 2015). The
step leaves every centred normal law as it is, correlated or not, so there are no weights to degenerate, and ξ may come
from whatever draws the dies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Draw = Callable[[int], Tensor]
Response = Callable[[Tensor], Tensor]

FRACTION = 0.1
ACCEPTED = 0.44
LEVELS = 8
FIRST_STEP = 0.6


@dataclass(frozen=True)
class Level:
    """One conditional fraction of a run.

    Attributes:
        threshold: of the response; the target at the last level.
        fraction: of the population at or below the threshold (below the target at the last level).
        acceptance: of the steps that made the population; 1 for the first, which is drawn.
        lineages: how many dies of the first population those below the threshold descend from.
    """

    threshold: float
    fraction: float
    acceptance: float
    lineages: int


@dataclass(frozen=True)
class Run:
    """One run of :func:`subset_simulation`.

    Attributes:
        probability: the estimate; 0 for a run that got stuck or ran out of levels before it met the target.
        levels: thresholds downwards. passes: responses asked for.
    """

    probability: float
    levels: tuple[Level, ...]
    passes: int

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Those before the target."""
        return tuple(level.threshold for level in self.levels[:-1])

    @property
    def reached(self) -> bool:
        """Whether the target was met."""
        return self.probability > 0


def subset_simulation(
    draw: Draw, response: Response, target: float, n: int, thresholds: Sequence[float] | None = None
) -> Run:
    """Estimate P(response(u) < target) from populations of about n.

    All randomness is in ``draw``. A run that chooses its own thresholds overestimates, by some 4 % a level for n = 250;
    with the ``thresholds`` of another run that is gone (below 2 % in all). Runs on disjoint draws give the interval.

    Args:
        draw: count → that many fresh centred normal vectors, (count, d), independent of all before.
        response: (count, d) → (count,); may have ties and steps.
        target: what the response has to fall below. n: size of a population.
        thresholds: downwards, all ≥ target; None chooses them as it goes.
    """
    u = draw(n)
    y, passes, step, acceptance = response(u), n, FIRST_STEP, 1.0
    lineage, probability = torch.arange(n), 1.0
    levels: list[Level] = []
    while len(levels) < LEVELS:
        if thresholds is None:
            threshold = _threshold(y)
        else:
            threshold = thresholds[len(levels)] if len(levels) < len(thresholds) else -math.inf
        last = threshold < target
        below = y < target if last else y <= threshold
        fraction = below.double().mean().item()
        levels.append(Level(target if last else threshold, fraction, acceptance, len(lineage[below].unique())))
        probability *= fraction
        if last or not fraction:
            return Run(probability, tuple(levels), passes)
        here, value, lineage = u[below], y[below], lineage[below]
        moves = max(1, math.ceil(n / len(here)) - 1)
        states, values, accepted = [here], [value], 0.0
        for _ in range(moves):
            proposed = math.sqrt(1 - step * step) * here + step * draw(len(here))
            found = response(proposed)
            kept = found <= threshold
            here, value = torch.where(kept[:, None], proposed, here), torch.where(kept, found, value)
            states.append(here)
            values.append(value)
            rate = kept.double().mean().item()
            accepted += rate / moves
            step = min(1.0, step * math.exp(rate - ACCEPTED))
        u, y, lineage = torch.cat(states), torch.cat(values), lineage.repeat(moves + 1)
        passes += moves * len(here)
        acceptance = accepted
    return Run(0.0, tuple(levels), passes)


def _threshold(y: Tensor) -> float:
    """The value whose fraction at or below it is nearest to 0.1, on a logarithmic scale, but not all; −∞ where all
    values are alike."""
    values, counts = y.unique(return_counts=True)
    if len(values) == 1:
        return -math.inf
    fractions = counts.cumsum(0)[:-1].double() / len(y)
    return values[(fractions / FRACTION).log().abs().argmin()].item()
