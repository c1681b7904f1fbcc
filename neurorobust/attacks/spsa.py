"""Ascent without gradients: a check that a network is robust and not only hard to differentiate."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .._util.errors import check_count, check_number
from .attack import Asking, OneObjective, Search
from .objectives import Objective, objective


@dataclass(frozen=True)
class SPSA(OneObjective):
    """Simultaneous perturbation (Spall 1992; as an attack Uesato et al. 2018, arXiv 1802.05666).

    ::

        ĝ = Σ (loss(δ + c ζ Δ) − loss(δ − c ζ Δ)) Δ         Δ random signs (in the L2 ball, of length 1); a running mean
        δ ← project(δ + (stride · ζ/steps) · d)             d the ball's steepest ascent for the mean of ĝ

    Everything it looks at counts, the probes too. Far weaker than a gradient that can be trusted; where it finds more
    than PGA does, the gradient misleads.

    Args:
        steps: N, gradient estimates. samples: pairs of probes in a step, each two forward passes.
        probe: c, in radii. memory: how much of the mean of ĝ outlives a step.
        divergence: see :class:`PGA`. stride: length of all steps together, in radii.
    """

    steps: int = 20
    samples: int = 4
    probe: float = 0.1
    memory: float = 0.9
    divergence: str | Objective = "ce"
    stride: float = 2.5

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("samples", self.samples)
        check_number("probe", self.probe, strict=True)
        check_number("stride", self.stride, strict=True)
        if not 0 <= check_number("memory", self.memory) < 1:
            raise ValueError(f"memory: got {self.memory}; expected a number ≥ 0 and < 1.")
        objective(self.divergence)

    @property
    def passes(self) -> int:
        return 2 * self.samples * self.steps + 1

    def explore(self, search: Search) -> Asking[None]:
        here = mean = search.center
        for _ in range(self.steps):
            mean = {name: self.memory * slope for name, slope in mean.items()}
            for _ in range(self.samples):
                signs = {
                    name: torch.randint(2, zero.shape, generator=search.generator).to(zero) * 2 - 1
                    for name, zero in search.center.items()
                }
                up, down = yield from search.look(search.ball.climb(here, signs, c) for c in (self.probe, -self.probe))
                mean = {name: slope + (up - down) * signs[name] for name, slope in mean.items()}
            here = search.ball.project(search.ball.climb(here, mean, self.stride / self.steps))
        yield from search.look([here])
