"""Codecs: the values that a chip can hold, and the integer code of each.

A :class:`Codec` is a fixed set of values. From it follow ``encode`` (the code of the nearest value), ``decode``,
``quantize`` (rounding that lets the gradient through) and ``error`` (the loss). A codec is independent of a chip.
An :class:`~neurorobust.chip.encodings.Encoding` connects both: from the values on a core it chooses the gain and makes
the codec.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ..._util.errors import check_finite
from ..wording import short


@dataclass(frozen=True)
class QuantizationLoss:
    """Loss of values when a codec holds them.

    Attributes:
        count: number of values.
        rms_relative: root mean square error over the root mean square of the values; 0 where both are 0.
        largest: largest absolute error, in the values' unit.
        became_zero: number of non-zero values held as 0.
        out_of_range: number of values beyond the range of the codec.
    """

    count: int
    rms_relative: float
    largest: float
    became_zero: int
    out_of_range: int


class Codec(ABC):
    """A finite set of values, each with an integer code.

    A value is held as the nearest one, halfway as the lower one. A value beyond the ends by at most half of the last
    gap (1e-6 of the value where there is only one) is rounded like any other; one further out is *out of range*:
    ``encode`` and ``quantize`` refuse it by name and ``error`` counts it. Wrap a codec in :class:`Saturating` to hold
    it at the end instead.
    """

    @classmethod
    def example(cls, draw: Random) -> Self:
        """A codec with numbers drawn at random, for the contract tests. By default the one without arguments."""
        return cls()

    @property
    def first(self) -> int:
        """The smallest code."""
        return 0

    @abstractmethod
    def held(self) -> np.ndarray:
        """Every value that is held, float64, by code from ``first`` on, in any order of size."""

    def position(self, values: Tensor) -> Tensor:
        """Values on the scale on which "nearest" is measured; increasing."""
        return values

    @cached_property
    def _values(self) -> Tensor:
        return torch.from_numpy(np.asarray(self.held(), dtype=np.float64))

    @cached_property
    def _ladder(self) -> tuple[Tensor, Tensor, float, float]:
        """Codes in the order of their values, the bounds between them, and the two ends, on the scale of position."""
        rungs, order = torch.sort(self.position(self._values), stable=True)
        middle = (rungs[1:] + rungs[:-1]) / 2
        below = torch.nextafter(rungs[1:], torch.full_like(middle, -torch.inf))  # a value on a rung belongs to it
        distinct = rungs.unique()
        gaps = distinct.diff() / 2 if len(distinct) > 1 else 1e-6 * distinct.abs()
        low, high = float(distinct[0] - gaps[0]), float(distinct[-1] + gaps[-1])
        return order + self.first, torch.minimum(middle, below), low, high

    def nearest(self, values: Tensor) -> Tensor:
        """The code, int64, of the value held that is nearest; beyond the ends, that of the end."""
        codes, bounds, _, _ = self._ladder
        here = torch.searchsorted(bounds.to(values.device), self.position(values.detach().double()).contiguous())
        return codes.to(values.device)[here]

    def outside(self, values: Tensor) -> Tensor:
        """True where a value is out of range."""
        _, _, low, high = self._ladder
        position = self.position(values.detach().double())
        return (position < low) | (position > high)

    def encode(self, values: Tensor, name: str = "values") -> Tensor:
        """The code of the nearest value held, int64, shape of the values.

        Args:
            values: any shape and type of float. name: their name in errors.

        Raises:
            ValueError: a value is not finite or out of range.
        """
        values = values.detach()
        check_finite({name: values})
        outside = self.outside(values)
        if outside.any():
            raise ValueError(
                f"{name}: {int(outside.sum())} of {values.numel()} values, from {float(values.min()):g} to "
                f"{float(values.max()):g}, are out of the range of {type(self).__name__}, "
                f"{float(self._values.min()):g} to {float(self._values.max()):g}. Fit its step or gain to the values, "
                f"or wrap it in Saturating to hold them at the end."
            )
        return self.nearest(values)

    def decode(self, codes: Tensor) -> Tensor:
        """The values that codes mean, float64.

        Raises:
            ValueError: a code is not an integer, or is unknown.
        """
        last = self.first + len(self._values) - 1
        if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
            raise ValueError(f"codes: got {codes.dtype}; expected integers.")
        if codes.numel() and (codes.min() < self.first or codes.max() > last):
            raise ValueError(
                f"codes: got {int(codes.min())} to {int(codes.max())}; {type(self).__name__} has {self.first} to "
                f"{last}."
            )
        return self._values.to(codes.device)[codes.long() - self.first]

    def quantize(self, values: Tensor, name: str = "values") -> Tensor:
        """decode(encode(values)) in the values' own type, with the gradient of the identity (straight-through)."""
        return self.decode(self.encode(values, name)).to(values.dtype) + (values - values.detach())

    def error(self, values: Tensor, name: str = "values") -> QuantizationLoss:
        """The loss of values when they are held, out-of-range ones (at the end) included."""
        check_finite({name: values.detach()})
        if not values.numel():
            return QuantizationLoss(0, 0.0, 0.0, 0, 0)
        exact = values.detach().double()
        held = self.decode(self.nearest(exact))
        miss, size = float((held - exact).norm()), float(exact.norm())
        return QuantizationLoss(
            count=exact.numel(),
            rms_relative=miss / size if size else 0.0 if not miss else float("inf"),
            largest=float((held - exact).abs().max()),
            became_zero=int(((held == 0) & (exact != 0)).sum()),
            out_of_range=int(self.outside(exact).sum()),
        )

    def in_words(self, unit: str = "") -> str:
        """The codec in one line; one without words of its own shows its representation."""
        return short(self)


class LogCodec(Codec):
    """A codec of values > 0 with "nearest" in the logarithm: 1 and 1.1 are as near as 10 and 11."""

    def position(self, values: Tensor) -> Tensor:
        return values.clamp(min=0).log()  # 0 and below: −∞, out of range
