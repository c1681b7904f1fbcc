"""Variability laws: from standard normals u to deviations δ of one kind, differentiable in both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .errors import check_number
from .params import ABSOLUTE, POSITIVE, SIGNED


class Law(Protocol):
    """How one kind varies from neuron to neuron, or synapse to synapse, of a die."""

    def deviate(self, kind: str, u: Tensor, nominal: Tensor) -> Tensor:
        """Standard normals → the δ that :func:`neurorobust.apply` takes; shapes as the expanded nominal."""


@dataclass(frozen=True)
class Normal:
    """θ* = θ + abs(θ)·cv·u, for signed kinds only: on a positive kind the tail would change its sign."""

    cv: float

    def __post_init__(self) -> None:
        check_number("cv", self.cv)

    def deviate(self, kind: str, u: Tensor, nominal: Tensor) -> Tensor:
        if kind not in SIGNED:
            raise ValueError(f"Normal: got kind {kind!r}; expected a signed kind. Use LogNormal for a positive one.")
        return self.cv * u


@dataclass(frozen=True)
class LogNormal:
    """θ* = θ·exp(σu): the median is kept, the mean grows by exp(σ²/2), the sign never changes.

    Attributes:
        sigma: standard deviation of log θ*.
    """

    sigma: float

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma)

    @classmethod
    def from_cv(cls, cv: float) -> LogNormal:
        """The law whose standard deviation is cv times its mean: σ = √ln(1 + cv²)."""
        return cls(math.sqrt(math.log1p(check_number("cv", cv) ** 2)))

    @property
    def cv(self) -> float:
        """Standard deviation over mean."""
        return math.sqrt(math.expm1(self.sigma**2))

    def deviate(self, kind: str, u: Tensor, nominal: Tensor) -> Tensor:
        if kind in POSITIVE:
            return self.sigma * u
        if kind in SIGNED:
            return nominal.sign() * torch.expm1(self.sigma * u)
        raise ValueError(f"LogNormal: got kind {kind!r}, whose nominal may be 0; use Offset with an absolute scale.")


@dataclass(frozen=True)
class Offset:
    """θ* = θ + sigma·u, for kinds whose nominal may be 0 (v_leak, v_reset); sigma in the parameter's unit."""

    sigma: float

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma)

    def deviate(self, kind: str, u: Tensor, nominal: Tensor) -> Tensor:
        if kind not in ABSOLUTE:
            raise ValueError(f"Offset: got kind {kind!r}; expected v_leak or v_reset.")
        return self.sigma * u
