"""Intervals of numbers that have a lowest and a highest value."""

from __future__ import annotations

import math

Bounds = tuple[float, float]
ANYTHING: Bounds = (-math.inf, math.inf)
FRACTION: Bounds = (0.0, 1.0)
"""Of an accuracy, a recall or a fraction."""
R_SQUARED: Bounds = (-math.inf, 1.0)
LARGEST = 700.0
"""Of an exponent; above it, an interval reaches its bounds to rounding."""


def kept_within(value: float, half: float, bounds: Bounds) -> tuple[float, float]:
    """The interval value ± half, kept inside bounds: that of g(value), carried back, with half · g' to first order::

        g(m) = log((m − low) / (high − m));   without a low bound: g(m) = −log(high − m)

    A value on a bound has the part of value ± half that is inside. NaN gives NaN.

    Example:
        >>> low, high = kept_within(0.9, 0.2, (0.0, 1.0))
        >>> round(low, 3), round(high, 3)
        (0.494, 0.988)
    """
    low, high = bounds
    below, above = value - low, high - value
    if math.isnan(half) or not math.isfinite(above):
        return value - half, value + half
    if half == 0 or min(below, above) <= 0:
        return max(low, value - half), min(high, value + half)
    reach = min(LARGEST, half / above if math.isinf(below) else half / above + half / below)
    less, more = math.exp(-reach), math.exp(reach)
    if math.isinf(below):
        ends = high - above * more, high - above * less
    else:
        ends = low + (high - low) / (1 + above / below * more), low + (high - low) / (1 + above / below * less)
    return min(value, ends[0]), max(value, ends[1])  # a short one may miss the value by rounding
