"""Bounds of maps that are linear in their weights: synapses, convolutions, poolings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ..nn.connections import AvgPool2d, Chain, Connection, Conv1d, Conv2d, Linear, OneToOne, SumPool2d
from ..nn.sparse_linear import SparseLinear
from .box import Box
from .interval import Interval, gamma

Op = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class BoundedSum:
    """Bounds of sums of products before they are rounded.

    Attributes:
        value: bounds of the exact sums. scale: bounds of the sums of the absolute products.
        terms: how many products that are not 0 a sum may have.
    """

    value: Interval
    scale: Tensor
    terms: Tensor | float

    def plus(self, other: BoundedSum) -> BoundedSum:
        return BoundedSum(self.value.plus(other.value), self.scale + other.scale, self.terms + other.terms)

    def rounded(self, unit: float, extra: float = 2) -> Interval:
        """Bounds of the sums as they are computed, in any order, after ``extra`` further roundings."""
        return self.value.widen(gamma(self.terms + extra, unit) * self.scale)


class IntervalMap(Protocol):
    """A linear map whose weights lie anywhere in their bounds."""

    def __call__(self, x: Interval) -> BoundedSum: ...


@dataclass(frozen=True)
class Weighted:
    """x → op(x, weight), bilinear; exact for inputs that are ≥ 0 or points.

    Attributes:
        dense: whether every output has every input as a source; then inputs that are 0 cause no rounding.
        terms: products in a sum.
    """

    op: Op
    weight: Interval
    terms: int
    dense: bool = False

    def __call__(self, x: Interval) -> BoundedSum:
        w, scale = self.weight, self.op(x.magnitude(), self.weight.magnitude())
        if bool((x.lo >= 0).all()):
            low, high = self.op(x.lo, w.lo), self.op(x.lo, w.hi)
            spread = x.hi - x.lo
            if bool((spread > 0).any()):
                low, high = low + self.op(spread, w.lo.clamp(max=0)), high + self.op(spread, w.hi.clamp(min=0))
        else:
            middle = x.lo + (x.hi - x.lo) / 2
            above, below = middle.clamp(min=0), (-middle).clamp(min=0)
            low = self.op(above, w.lo) - self.op(below, w.hi)
            high = self.op(above, w.hi) - self.op(below, w.lo)
            spread = torch.maximum(x.hi - middle, middle - x.lo)
            if bool((spread > 0).any()):
                by = self.op(spread, w.magnitude())
                low, high = low - by, high + by
        terms = (x.magnitude() != 0).sum(-1, keepdim=True).double() if self.dense else float(self.terms)
        return BoundedSum(Interval(low, high), scale, terms)


@dataclass(frozen=True)
class Biased:
    """A map and a bias."""

    map: IntervalMap
    bias: Interval

    def __call__(self, x: Interval) -> BoundedSum:
        return self.map(x).plus(BoundedSum(self.bias, self.bias.magnitude(), 1.0))


@dataclass(frozen=True)
class Pooled:
    """A pooling: a fixed map that does not decrease in any input."""

    op: Callable[[Tensor], Tensor]
    terms: int

    def __call__(self, x: Interval) -> BoundedSum:
        return BoundedSum(x.map(self.op), self.op(x.magnitude()), float(self.terms))


@dataclass(frozen=True)
class Chained:
    """Maps one after the other, each rounded."""

    maps: tuple[IntervalMap, ...]
    unit: float

    def __call__(self, x: Interval) -> BoundedSum:
        for part in self.maps[:-1]:
            x = part(x).rounded(self.unit)
        return self.maps[-1](x)


def matrix_map(weight: Interval) -> Weighted:
    """x → x weightᵀ; weight (n_out, n_in)."""
    transposed = weight.map(lambda value: value.T.contiguous())
    return Weighted(torch.matmul, transposed, weight.lo.shape[1], dense=True)


def _apply_flat(op: Op, shape: tuple[int, ...], n_out: int, x: Tensor, weight: Tensor) -> Tensor:
    return op(x.reshape(-1, *shape), weight).reshape(*x.shape[:-1], n_out)


def interval_map(connection: Connection, prefix: str, box: Box, unit: float) -> IntervalMap:
    """The map of a connection whose parameters lie anywhere in a box.

    Args:
        prefix: of its parameters' names, ``"hidden.input"``.
        unit: unit roundoff of the computation to be bounded.

    Raises:
        TypeError: a connection whose bounds are not known.
    """
    if isinstance(connection, Chain):
        parts = enumerate(connection.parts())
        return Chained(tuple(interval_map(part, f"{prefix}.{i}", box, unit) for i, part in parts), unit)
    if isinstance(connection, AvgPool2d | SumPool2d):
        return _pool(connection)
    if isinstance(connection, SparseLinear):
        raise TypeError(f"{prefix}: SparseLinear has no bounds; take nr.nn.dense(network).")
    if not isinstance(connection, Linear | OneToOne | Conv1d | Conv2d):
        raise TypeError(
            f"{prefix}: {type(connection).__name__} has no bounds; expected Linear, OneToOne, Conv1d, Conv2d, "
            f"AvgPool2d, SumPool2d or a Chain of these."
        )
    mask = connection.mask
    weight = box[f"{prefix}.weight"].map(lambda value: torch.where(mask, value, 0.0))
    if isinstance(connection, Linear):
        result: IntervalMap = matrix_map(weight)
    elif isinstance(connection, OneToOne):
        result = Weighted(torch.mul, weight, 1)
    else:
        result = _convolution(connection, weight)
    bias = box.get(f"{prefix}.bias")
    if bias is None:
        return result
    if isinstance(connection, Conv1d | Conv2d):
        places = connection.n_out // len(connection.weight)
        bias = bias.map(lambda value: value.repeat_interleave(places))
    return Biased(result, bias)


def _convolution(connection: Conv1d | Conv2d, weight: Interval) -> Weighted:
    convolve = functional.conv1d if isinstance(connection, Conv1d) else functional.conv2d
    op = partial(convolve, stride=connection.stride, padding=connection.padding)
    flat = partial(_apply_flat, op, connection.shape, connection.n_out)
    return Weighted(flat, weight, weight.lo[0].numel())


def _pool(connection: AvgPool2d | SumPool2d) -> Pooled:
    """The pooling itself, computed in float64; it has no parameters."""
    return Pooled(lambda x: connection(x[None], 0.0)[0], math.prod(connection.kernel))


def concatenated(signals: Mapping[str, Interval], sources: tuple[str, ...]) -> Interval:
    """The inputs of a layer from all its sources, concatenated along the features."""
    inputs = [signals[source] for source in sources]
    if len(inputs) == 1:
        return inputs[0]
    return Interval(torch.cat([part.lo for part in inputs], -1), torch.cat([part.hi for part in inputs], -1))
