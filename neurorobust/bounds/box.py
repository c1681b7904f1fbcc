"""The box of all parameters that ``apply`` returns for a ball, in the precision of the network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..attacks import Ball
from ..attacks.ball import ToleranceBox
from ..core.params import ABSOLUTE, SIGNED, Params, kind_of
from ..core.placement import Placement, expand
from .interval import Interval, point_interval

Box = dict[str, Interval]


def unit_of(params: Mapping[str, Tensor]) -> float:
    """Unit roundoff u of the parameters' type: a rounded result is off by at most u relative to itself."""
    return torch.finfo(next(iter(params.values())).dtype).eps / 2


def ranges(params: Params, ball: Ball, placement: Placement) -> dict[str, tuple[Tensor | float, Tensor | float]]:
    """Lowest and highest deviation of every element that may deviate.

    Raises:
        TypeError: a ball of another norm. ValueError: a ball that names no parameter.
    """
    if type(ball) not in (Ball, ToleranceBox):
        raise TypeError(f"ball: got {ball!r}; expected bounds for every element, such as nr.Ball.uniform(1e-4).")
    center = ball.center(params, placement)
    if not center:
        raise ValueError(f"ball: {ball} names no parameter of this network; name a kind it has.")
    if isinstance(ball, ToleranceBox):
        return {name: (ball.corners[name][0].double(), ball.corners[name][1].double()) for name in center}
    return {name: (-ball.radius(name), ball.radius(name)) for name in center}


def box(params: Params, ball: Ball, placement: Placement) -> Box:
    """Bounds, in float64, of all parameters ``apply(params, δ, placement)`` gives for δ in the ball.

    They contain the exact values θ + abs(θ) δ, θ + δ and θ exp(δ) as well as their rounded values from ``apply``. A
    parameter that does not deviate is a single value. Shapes are the expanded ones.

    Example:
        >>> params, ball = {"a.weight": torch.tensor([[2.0]]), "a.bias": torch.tensor([1.0])}, nr.Ball(weight=0.1)
        >>> box = nr.bounds.box(params, ball, nr.core.Placement())
        >>> [round(end.item(), 3) for end in box["a.weight"]], [end.item() for end in box["a.bias"]]
        ([1.8, 2.2], [1.0, 1.0])
    """
    unit = unit_of(params)
    result = {name: point_interval(value.double()) for name, value in expand(params, placement).items()}
    for name, ends in ranges(params, ball, placement).items():
        value = result[name].lo
        lowest, highest = (torch.as_tensor(end, dtype=torch.float64) * (1 + 4 * unit) for end in ends)
        if kind_of(name) in SIGNED | ABSOLUTE:
            scale = value.abs() if kind_of(name) in SIGNED else torch.ones_like(value)
            low, high = value + scale * lowest, value + scale * highest
            slack = 8 * unit * (torch.maximum(low.abs(), high.abs()) + value.abs())
            low, high = low - slack, high + slack
        else:
            low, high = value * lowest.exp() * (1 - 8 * unit), value * highest.exp() * (1 + 8 * unit)
        moved = (lowest != 0) | (highest != 0)
        result[name] = Interval(torch.where(moved, low, value), torch.where(moved, high, value))
    return result
