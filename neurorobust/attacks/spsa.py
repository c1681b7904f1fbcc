"""Ascent without gradients: tests whether a network is robust or only has a poor gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .._util.errors import check_count, check_number, plain_fields
from .attack import Attack, Exploration, Search
from .objectives import Objective, as_objective


@dataclass(frozen=True)
class SPSA(Attack):
    """Simultaneous perturbation (Spall 1992; as an attack Uesato et al. 2018, arXiv 1802.05666).

    ::

        ĝ = Σ (loss(δ + c ζ Δ) − loss(δ − c ζ Δ)) Δ         Δ random signs (in the L2 ball, of length 1); a running mean
        δ ← project(δ + (stride · ζ/steps) · d)             d the ball's steepest ascent for the mean of ĝ

    All evaluated dies count, the probes too. Far weaker than an attack with a good gradient. If it finds worse dies
    than PGA does, the gradient is misleading.

    Args:
        steps: N, gradient estimates. samples: pairs of probes in a step, each two forward passes.
        probe: c, in radii. memory: weight of the old mean of ĝ in each step.
        objective: see :class:`PGA`. stride: length of all steps together, in radii.

    Raises:
        ValueError: ``steps`` or ``samples`` below 1, ``probe`` or ``stride`` not above 0, ``memory`` outside 0 ≤ memory
            < 1.

    Example:
        >>> attack = nr.attacks.SPSA(steps=20, samples=4)
        >>> attack.passes  # 20 steps of 4 pairs of probes, and the last point
        161
    """

    steps: int = 20
    samples: int = 4
    probe: float = 0.1
    memory: float = 0.9
    objective: str | Objective = "ce"
    stride: float = 2.5

    def __post_init__(self) -> None:
        plain_fields(self)
        check_count("steps", self.steps)
        check_count("samples", self.samples)
        check_number("probe", self.probe, strict=True)
        check_number("stride", self.stride, strict=True)
        if not 0 <= check_number("memory", self.memory) < 1:
            raise ValueError(f"memory: got {self.memory}; expected a number ≥ 0 and < 1.")
        as_objective(self.objective)

    @property
    def passes(self) -> int:
        return 2 * self.samples * self.steps + 1

    def explore(self, search: Search) -> Exploration[None]:
        deviations = mean = search.center
        for _ in range(self.steps):
            mean = {name: self.memory * gradient for name, gradient in mean.items()}
            for _ in range(self.samples):
                signs = {
                    name: torch.randint(2, zero.shape, generator=search.generator).to(zero) * 2 - 1
                    for name, zero in search.center.items()
                }
                probes = (search.ball.ascent_step(deviations, signs, c) for c in (self.probe, -self.probe))
                up, down = yield from search.evaluate(probes)
                mean = {name: gradient + (up - down) * signs[name] for name, gradient in mean.items()}
            deviations = search.ball.project(search.ball.ascent_step(deviations, mean, self.stride / self.steps))
        yield from search.evaluate([deviations])
