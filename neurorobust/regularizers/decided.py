"""Training for certificates: few spikes that the parameters in a ball can change."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_number
from ..attacks import Ball
from ..bounds import Interval, MeanValueForm, Population, box, populations
from ..bounds.interval import point_interval
from ..bounds.linear import BoundedSum, concatenated
from ..nn.network import INPUT, Network
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class Decided(Regularizer):
    """L = inner + weight · mean over samples of Σ_steps Σ_neurons max(0, 1 − distance/reach).

    distance = abs(membrane − threshold). reach = how far the parameters of the ball can move the two towards each other
    while all spikes stay the same, by the bounds of :func:`neurorobust.evaluation.certify` in differentiable torch. The
    sum is 0 if no spike is undecided. Undecided spikes are not propagated, so the bounds do not grow without limit.
    Refractory neurons do not count. Only the clean pass uses the compiled loops.

    A schedule of growing balls is a loop: ``for zeta in (1e-4, 1e-3): fit(…, Decided(loss, Ball(weight=zeta), 1e-3))``.

    Args:
        inner: loss(logits, y) or another regularizer.
        ball: the ball in which spikes shall be decided; a larger one than is certified later gives a larger gradient.
        weight: of the term, ≥ 0.

    Raises:
        TypeError: a network whose bounds are not known.

    Example:
        >>> network, _ = nr.zoo.load("ecg/standard")
        >>> loss = nr.regularizers.Decided(lambda logits, y: logits.sum() * 0, nr.Ball(weight=0.01), weight=1.0)
        >>> batch = (torch.rand(2, 20, 32) < 0.2).float(), torch.tensor([0, 1])
        >>> value = loss(network, dict(network.named_parameters()), batch, torch.Generator())
        >>> value.item() > 0, value.requires_grad  # some spikes are not decided
        (True, True)
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
        undecided = torch.stack([_undecided_spikes(p, signals) for p in layers if p.reset is not None]).sum()
        return self.inner.total(step) + self.weight * undecided / len(step.x)


def _undecided_spikes(p: Population, signals: dict[str, Tensor]) -> Tensor:
    """How undecided the spikes of a layer are, summed over samples, steps and neurons; spikes as in the clean
    pass."""
    steps, own = MeanValueForm(), signals[p.name]
    n_steps, samples, _ = own.shape
    inputs = concatenated({name: point_interval(value.flatten(0, 1)) for name, value in signals.items()}, p.sources)
    before = torch.cat([torch.zeros_like(own[:1]), own[:-1]])
    total_input = p.input_map(inputs)
    if p.recurrent_map is not None:
        total_input = total_input.plus(p.recurrent_map(point_interval(before.flatten(0, 1))))
    current = total_input.rounded(p.unit).map(lambda value: value.reshape(n_steps, samples, -1))
    state, total = steps.initial_state(p, samples), own.new_zeros(())
    for t in range(n_steps):
        drive = BoundedSum(Interval(current.lo[t], current.hi[t]), current.lo.new_zeros(()), 0.0)  # rounded already
        state = steps.advance(p, state, drive)
        v, threshold = state["v"], state["threshold"]
        reach = (v.width() + threshold.width()) / 2
        distance = (v.lo + v.hi - threshold.lo - threshold.hi).abs() / 2
        undecided = (1 - distance / reach.clamp(min=1e-12)).clamp(min=0)
        if p.refractory is not None:
            undecided = undecided * (state["refractory"].hi <= 0)
        total = total + undecided.sum()
        state = steps.after_spikes(p, {**state, "z": point_interval(own[t])})
    return total
