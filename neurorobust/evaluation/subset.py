"""Rare events over many standard normals: subset simulation whose steps work in any number of dimensions.

``P(response < target)`` is a product of conditional fractions, each near 0.1. The thresholds decrease one after the
other, and below each a population is moved by u ← √(1 − s²) u + s ξ, ξ a new draw, accepted if the response stays at or
below the threshold (Au and Beck 2001; the step is Cotter et al.'s 2013, arXiv 1202.0709, and Papaioannou et al.'s
2015). The step keeps every centred normal distribution, correlated or not. So there are no weights that could
degenerate, and ξ may come from the function that draws dies.
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
        acceptance: accepted fraction of the steps that made the population; 1 for the first one, which is drawn.
        lineages: number of dies of the first population that those below the threshold descend from.
    """

    threshold: float
    fraction: float
    acceptance: float
    lineages: int


@dataclass(frozen=True)
class Run:
    """One run of :func:`subset_simulation`.

    Attributes:
        probability: the estimate; 0 for a run that did not reach the target.
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

    All randomness is in ``draw``. A run that chooses its own thresholds overestimates by about 4 % per level for n =
    250; with the ``thresholds`` of another run the bias is below 2 % in total. Runs on disjoint draws give the
    interval.

    Args:
        draw: count → that many fresh centred normal vectors, (count, d), independent of all before.
        response: (count, d) → (count,); may have ties and steps.
        target: the response must be smaller. n: size of a population.
        thresholds: downwards, all ≥ target; None: chosen during the run.
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
