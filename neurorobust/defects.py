"""What is broken on a die for good: which sites, and what a broken one does.

Which sites are broken follows from the die's own standard normals, so a die keeps its defects. Defects are sampled,
never attacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ._util.errors import check_number


class Pattern(Protocol):
    """Where the defects of a die are."""

    @property
    def fraction(self) -> float:
        """The probability that a site is broken."""

    def hits(self, u: Tensor) -> Tensor:
        """True at the broken sites, from a standard normal for each site of the die."""


@dataclass(frozen=True)
class Scattered:
    """Every site is broken by itself with the same probability.

    Attributes:
        fraction: 0 to 1.
    """

    fraction: float

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)

    def hits(self, u: Tensor) -> Tensor:
        """True at the broken sites; u of any shape."""
        return u < _quantile(self.fraction)


@dataclass(frozen=True)
class Clustered:
    """Broken sites lie together: where a smooth Gaussian field over the die is low.

    ::

        field = A_H u A_Wᵀ,    A[i, j] ∝ exp(−(i − j)²/(2 length²)), rows of norm 1
        broken where field < Φ⁻¹(fraction)

    The field is N(0, 1) at every site, at the edges too, so every site is broken with probability ``fraction``; far
    from them, sites d apart are correlated by exp(−d²/(4 length²)).

    Attributes:
        fraction: 0 to 1. length: in sites, > 0.
    """

    fraction: float
    length: float

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)
        check_number("length", self.length, strict=True)

    def field(self, u: Tensor) -> Tensor:
        """The smooth field from standard normals of shape (…, H, W), the grid of sites last."""
        if u.ndim < 2:
            raise ValueError(f"u: got shape {tuple(u.shape)}; expected (…, height, width), the grid of sites last.")
        return self._smooth(u.shape[-2], u) @ u @ self._smooth(u.shape[-1], u).T

    def hits(self, u: Tensor) -> Tensor:
        """True at the broken sites; u of shape (…, H, W), the grid of sites last."""
        return self.field(u) < _quantile(self.fraction)

    def _smooth(self, n: int, like: Tensor) -> Tensor:
        site = torch.arange(n, dtype=like.dtype, device=like.device)
        kernel = torch.exp(-((site[:, None] - site) / self.length).square() / 2)
        return kernel / kernel.norm(dim=1, keepdim=True)


def stuck(values: Tensor, broken: Tensor, at: float | Tensor) -> Tensor:
    """Values, but ``at`` where they are broken: a stuck device, or with 0 a missing synapse. No gradient reaches those.

    Args:
        values: any shape. broken: bool of that shape. at: a number, or of that shape (one rail or the other).
    """
    if broken.shape != values.shape or broken.dtype != torch.bool:
        raise ValueError(
            f"broken: got {broken.dtype} of shape {tuple(broken.shape)}; expected bool of {tuple(values.shape)}."
        )
    return torch.where(broken, torch.as_tensor(at, dtype=values.dtype, device=values.device), values)


def unheard(weight: Tensor, dead: Tensor) -> Tensor:
    """Weights (n_out, n_in, …) that read dead neurons as 0: a neuron is dead to all whose weights went through here.

    Args:
        dead: bool, (n_in,).
    """
    if weight.ndim < 2 or dead.shape != weight.shape[1:2] or dead.dtype != torch.bool:
        raise ValueError(
            f"dead: got {dead.dtype} of shape {tuple(dead.shape)} for weights of shape {tuple(weight.shape)}; expected "
            f"bool, one for each neuron that is read."
        )
    return weight * (~dead).to(weight).reshape(-1, *[1] * (weight.ndim - 2))


def _check_fraction(fraction: float) -> None:
    if check_number("fraction", fraction) > 1:
        raise ValueError(f"fraction: got {fraction!r}; expected 0 to 1.")


def _quantile(fraction: float) -> float:
    return float(torch.special.ndtri(torch.tensor(fraction, dtype=torch.float64)))
