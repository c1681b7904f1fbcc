"""Spike functions: an exact step forward, a named surrogate derivative backward."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._util.errors import check_number


class Surrogate(ABC):
    """The derivative that stands in for that of the step, at the distance u of the membrane from its threshold.

    A subclass is a frozen dataclass with a field ``scaled``: True for u = (v − ϑ)/ϑ, so that one width fits every
    threshold; False for u = v − ϑ, V, as snnTorch has it.
    """

    scaled: bool

    @abstractmethod
    def derivative(self, u: Tensor) -> Tensor:
        """dz/du, shape of u."""


@dataclass(frozen=True)
class Triangle(Surrogate):
    """dz/du = scale · max(0, 1 − abs(u)); the paper's, with scale 0.3 (arXiv 2106.05009; Bellec et al. 2018)."""

    scale: float = 0.3
    scaled: bool = True

    def __post_init__(self) -> None:
        check_number("scale", self.scale, strict=True)
        _check_scaled(self.scaled)

    def derivative(self, u: Tensor) -> Tensor:
        return self.scale * (1 - u.abs()).clamp(min=0)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """dz/du = 1/(1 + slope · abs(u))²; ``snntorch.surrogate.fast_sigmoid`` (Zenke & Ganguli 2018)."""

    slope: float = 25.0
    scaled: bool = False

    def __post_init__(self) -> None:
        check_number("slope", self.slope, strict=True)
        _check_scaled(self.scaled)

    def derivative(self, u: Tensor) -> Tensor:
        return 1 / (1 + self.slope * u.abs()).square()


@dataclass(frozen=True)
class ArcTan(Surrogate):
    """dz/du = alpha/2 / (1 + (π/2 · alpha · u)²); ``snntorch.surrogate.atan`` (Fang et al. 2021)."""

    alpha: float = 2.0
    scaled: bool = False

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, strict=True)
        _check_scaled(self.scaled)

    def derivative(self, u: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * u).square())


def _check_scaled(scaled: object) -> None:
    if not isinstance(scaled, bool):
        raise TypeError(f"scaled: got {scaled!r}; expected True for u = (v − ϑ)/ϑ or False for u = v − ϑ.")


class _Step(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, surrogate: Surrogate) -> Tensor:
        return (u > 0).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        u, ctx.surrogate = inputs
        ctx.save_for_backward(u)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return gradient * ctx.surrogate.derivative(u), None


def spike(v: Tensor, threshold: Tensor, surrogate: Surrogate) -> Tensor:
    """z = 1 where v > threshold, else 0; its gradient is the surrogate's at u.

    Shapes: v and threshold broadcast; threshold > 0. The chain rule through u reaches both v and the threshold.
    """
    u = v - threshold
    return _Step.apply(u / threshold if surrogate.scaled else u, surrogate)
