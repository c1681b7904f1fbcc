"""Spikes that no parameter of a ball can change: training for certificates."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_number
from ..attacks import Ball
from ..bounds import Interval, Population, Tight, box, populations
from ..bounds.interval import point
from ..bounds.linear import Sum, beside
from ..nn.network import INPUT, Network
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class Decided(Regularizer):
    """L = inner + weight · mean over samples of Σ_steps Σ_neurons max(0, 1 − distance/reach).

    The distance is that of the membrane from its threshold, the reach how far the parameters of the ball can move the
    two towards each other while all spikes stay as they are, by the bounds of :func:`neurorobust.evaluation.certify` in
    plain differentiable torch. The sum is 0 where no spike is undecided, and it does not blow up as intervals do that
    pass undecided spikes on. Neurons at rest after a spike do not count. The compiled loops run the clean pass only.

    A schedule of growing balls is a loop: ``for zeta in (1e-4, 1e-3): fit(…, Decided(loss, Ball(weight=zeta), 1e-3))``.

    Args:
        inner: loss(logits, y) or another regularizer.
        ball: the ball spikes shall be decided in; one far larger than the one to be certified gives more of a slope.
        weight: of the term, ≥ 0.

    Raises:
        TypeError: a network whose bounds are not known.
    """

    def __init__(self, inner: Criterion | Regularizer, ball: Ball, weight: float):
        if not isinstance(ball, Ball):
            raise TypeError(f"ball: got {ball!r}; expected a Ball such as nr.Ball.uniform(1e-3).")
        self.inner = as_regularizer(inner)
        self.ball = ball
        self.weight = check_number("weight", weight)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, Ball.uniform(0.1), 0.5 * strength)

    def total(self, step: Step) -> Tensor:
        if not isinstance(step.network, Network):
            raise TypeError(f"network: got {type(step.network).__name__}; expected a Network, which spikes.")
        layers = populations(step.network, box(step.params, self.ball, step.placement))
        signals = {INPUT: step.x.transpose(0, 1).double()}
        signals |= {name: value.double() for name, value in step.clean[1].items()}
        doubt = torch.stack([_doubt(p, signals) for p in layers if p.reset is not None]).sum()
        return self.inner.total(step) + self.weight * doubt / len(step.x)


def _doubt(p: Population, signals: dict[str, Tensor]) -> Tensor:
    """How undecided a layer's spikes are, summed over samples, steps and neurons, with all spikes as they were."""
    steps, own = Tight(), signals[p.name]
    n_steps, samples, _ = own.shape
    heard = beside({name: point(value.flatten(0, 1)) for name, value in signals.items()}, p.sources)
    before = torch.cat([torch.zeros_like(own[:1]), own[:-1]])
    arriving = p.heard(heard)
    if p.recurrent is not None:
        arriving = arriving.plus(p.recurrent(point(before.flatten(0, 1))))
    current = arriving.rounded(p.unit).map(lambda value: value.reshape(n_steps, samples, -1))
    state, total = steps.start(p, samples), own.new_zeros(())
    for t in range(n_steps):
        drive = Sum(Interval(current.lo[t], current.hi[t]), current.lo.new_zeros(()), 0.0)  # rounded already
        state = steps.advance(p, state, drive)
        x, bound = state["x"], state["bound"]
        reach = (x.width() + bound.width()) / 2
        distance = (x.lo + x.hi - bound.lo - bound.hi).abs() / 2
        doubt = (1 - distance / reach.clamp(min=1e-12)).clamp(min=0)
        if p.refractory is not None:
            doubt = doubt * (state["silent"].hi <= 0)
        total = total + doubt.sum()
        state = steps.rest(p, {**state, "z": point(own[t])})
    return total
