"""Intervals of tensors, and bounds of rounding errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

FLOAT64_ROUNDOFF = 2.0**-53
"""Unit roundoff of float64, in which the bounds themselves are computed."""


class Interval(NamedTuple):
    """All values between two tensors of one shape, both ends included.

    Example:
        >>> a, b = (nr.bounds.Interval(torch.tensor(lo), torch.tensor(hi)) for lo, hi in ((-1.0, 2.0), (3.0, 4.0)))
        >>> [end.item() for end in a.plus(b)], [end.item() for end in a.times(b)]
        ([2.0, 6.0], [-4.0, 8.0])
    """

    lo: Tensor
    hi: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Interval:
        """The image under a non-decreasing function, or under one that rearranges elements."""
        return Interval(function(self.lo), function(self.hi))

    def widen(self, by: Tensor | float) -> Interval:
        return Interval(self.lo - by, self.hi + by)

    def meet(self, other: Interval) -> Interval:
        """The intersection."""
        return Interval(torch.maximum(self.lo, other.lo), torch.minimum(self.hi, other.hi))

    def hull(self, other: Interval) -> Interval:
        """The smallest interval that contains both."""
        return Interval(torch.minimum(self.lo, other.lo), torch.maximum(self.hi, other.hi))

    def plus(self, other: Interval) -> Interval:
        return Interval(self.lo + other.lo, self.hi + other.hi)

    def minus(self, other: Interval) -> Interval:
        return Interval(self.lo - other.hi, self.hi - other.lo)

    def times(self, other: Interval) -> Interval:
        products = self.lo * other.lo, self.lo * other.hi, self.hi * other.lo, self.hi * other.hi
        return Interval(
            torch.minimum(torch.minimum(products[0], products[1]), torch.minimum(products[2], products[3])),
            torch.maximum(torch.maximum(products[0], products[1]), torch.maximum(products[2], products[3])),
        )

    def magnitude(self) -> Tensor:
        """The largest absolute value in it."""
        return torch.maximum(-self.lo, self.hi)

    def width(self) -> Tensor:
        return self.hi - self.lo


def point_interval(value: Tensor) -> Interval:
    """The interval of one value."""
    return Interval(value, value)


def leaky_step(alpha: Interval, y: Interval, i: Interval) -> Interval:
    """The exact range of α y + (1 − α) i, one step of a leaky integrator; α is the same number in both places."""
    return Interval(
        i.lo + torch.where(y.lo > i.lo, alpha.lo, alpha.hi) * (y.lo - i.lo),
        i.hi + torch.where(y.hi > i.hi, alpha.hi, alpha.lo) * (y.hi - i.hi),
    )


def gamma(n: Tensor | float, unit: float) -> Tensor | float:
    """γ_n = n u/(1 − n u): the relative error n roundings make at most (Higham 2002, lemma 3.1). A sum of n products is
    off by at most γ_n times the sum of their absolute values, whatever the order."""
    return n * unit / (1 - n * unit)
