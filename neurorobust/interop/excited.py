"""Parameters and inputs at which a silent network speaks, and comparisons of what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._util.randomness import generator
from ..core.params import DIGITAL, SIGNED, Params, kind_of

CLOSE = 1e-3  # of the largest output: what rounding may change where the shapes of the products differ


def excited(params: Params, x: Tensor, full: bool) -> Iterator[tuple[Params, Tensor]]:
    """Parameters and inputs far from the nominal ones, of which some make a silent network speak: random deviations,
    then positive weights, low thresholds and long time constants."""
    key = generator(0, "excited")
    loud = loud_input(x, key)
    if full:
        yield {name: moved(name, value, 1.0, key) for name, value in params.items()}, x
    yield {name: raised(name, value, 4.0, key) for name, value in params.items()}, loud
    if full:
        yield {name: raised(name, value, 100.0, key) for name, value in params.items()}, loud


def _normals(value: Tensor, key: torch.Generator) -> Tensor:
    return torch.randn(value.shape, generator=key, dtype=torch.float64).to(value)


def _scale(value: Tensor) -> Tensor:
    """A usual size of the values of a tensor, not 0."""
    if not value.numel():
        return value.new_ones(())
    fan_in = max(1, value.numel() // len(value)) if value.ndim else 1
    return value.abs().mean().clamp(min=1 / fan_in)


def moved(name: str, value: Tensor, size: float, key: torch.Generator) -> Tensor:
    """A strong random change; a positive kind stays positive."""
    kind, normals = kind_of(name), _normals(value, key)
    if kind in DIGITAL:
        return value
    if kind in SIGNED or not bool((value > 0).all()):
        return value + size * _scale(value) * normals
    return value * (normals.abs() * size).clamp(max=5).exp()


def raised(name: str, value: Tensor, size: float, key: torch.Generator) -> Tensor:
    """Values at which neurons fire: large positive weights, low thresholds, slow leaks."""
    kind = kind_of(name)
    if kind == "weight" and value.ndim > 1:
        return size * (value.abs() + _scale(value) * _normals(value, key).abs())
    if kind in SIGNED:
        return value.abs() * (1 + _normals(value, key).abs()) + 0.1 * _scale(value)
    if kind == "v_threshold":
        return value / (2 * size)
    return value * 2 if kind.startswith("tau") else value


def loud_input(x: Tensor, key: torch.Generator) -> Tensor:
    """Inputs within the range of x, half of them the largest; x itself if it is of integers."""
    if not x.is_floating_point():
        return x
    high = x.max() if bool(x.max() > x.min()) else x.new_ones(())
    return torch.where(torch.rand(x.shape, generator=key).to(x.device) < 0.5, high, x)


def same(a: Tensor, b: Tensor) -> bool:
    """True if two tensors are equal, bit for bit on the CPU; up to rounding where sums have no fixed order."""
    if a.shape != b.shape:
        return False
    if a.device.type != "cpu":
        return torch.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def repeats(a: Tensor, b: Tensor) -> bool:
    """True if two passes gave the same, up to a few last digits: products may round by where tensors lie in memory."""
    if same(a, b) or a.shape != b.shape:
        return a.shape == b.shape
    finite = a.isfinite() & b.isfinite()
    size = a[finite].abs().max() if bool(finite.any()) else a.new_zeros(())
    equal = (a == b) | (a.isnan() & b.isnan())
    return bool((equal | (finite & ((a - b).abs() <= 64 * torch.finfo(a.dtype).eps * size))).all())


def rows_differ(a: Tensor, b: Tensor) -> bool:
    """True if half of the rows or more differ by more than rounding; one spike may tip over."""
    if a.shape != b.shape:
        return True
    if not len(a):
        return False
    a, b = a.double().flatten(1), b.double().flatten(1)
    size = b[b.isfinite()].abs().max() if bool(b.isfinite().any()) else b.new_ones(())
    near = ((a - b).abs() <= CLOSE * size) | (a == b) | (a.isnan() & b.isnan())
    return bool((~near.all(1)).double().mean() >= 0.5)


def same_state(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same_state, a, b))
    return bool(np.all(a == b))
