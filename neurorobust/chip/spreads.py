"""Spreads: the σ of a law as a function of the programmed value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._util.errors import check_number, plain_fields
from .wording import number, quantity, short, sized
from .wording import polynomial as polynomial_words


def polynomial(coefficients: Sequence[float], r: Tensor) -> Tensor:
    """Σ_i coefficients[i] · r^i."""
    total = torch.zeros_like(r)
    for coefficient in reversed(coefficients):
        total = total * r + coefficient
    return total


class Spread(ABC):
    """A spread σ as a function of the programmed value, chip units."""

    @abstractmethod
    def at(self, nominal: Tensor) -> Tensor:
        """σ for every value; only magnitudes count."""

    def in_words(self, unit: str = "", *, absolute: bool = False) -> str:
        """σ in words: relative, in percent, or ``absolute``, in the chip's unit."""
        return short(self)


@dataclass(frozen=True)
class PowerSpread(Spread):
    """σ = value · (abs(x)/reference)^exponent; at most ``largest``, where that is given.

    Attributes:
        value: σ at the reference. reference: in the value's own unit, > 0.

    Raises:
        ValueError: a negative value, a reference that is not above 0, or a negative exponent without ``largest``.

    Example:
        >>> spread = nr.chip.spreads.PowerSpread(0.1, reference=1e-9, exponent=-0.5, largest=0.3)
        >>> [round(sigma, 3) for sigma in spread.at(torch.tensor([0.0, 1e-9, 4e-9])).tolist()]
        [0.3, 0.1, 0.05]
    """

    value: float
    reference: float
    exponent: float
    largest: float | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("value", self.value)
        check_number("reference", self.reference, strict=True)
        if self.exponent < 0 and self.largest is None:
            raise ValueError(f"largest: got None; σ grows without bound at 0 for exponent {self.exponent:g}; give one.")

    def at(self, nominal: Tensor) -> Tensor:
        tiny = torch.finfo(nominal.dtype).tiny
        sigma = self.value * ((nominal.abs() / self.reference).clamp(min=tiny)) ** self.exponent
        return sigma if self.largest is None else sigma.clamp(max=self.largest)

    def in_words(self, unit: str = "", *, absolute: bool = False) -> str:
        most = "" if self.largest is None else f", at most {sized(self.largest, unit, absolute)}"
        return (
            f"{sized(self.value, unit, absolute)} at {quantity(self.reference, unit)}, times (value / "
            f"{quantity(self.reference, unit)})^{number(self.exponent)}{most}"
        )


@dataclass(frozen=True)
class PolynomialSpread(Spread):
    """σ = Σ_i coefficients[i] · r^i, r = abs(x)/full clipped to [0, 1], nowhere < 0.

    Raises:
        ValueError: no coefficients, ``full`` not above 0, or a σ below 0 somewhere.

    Example:
        >>> spread = nr.chip.spreads.PolynomialSpread((0.02, 0.1), full=10e-6)
        >>> [round(x, 3) for x in spread.at(torch.tensor([0.0, 5e-6, 10e-6])).tolist()]
        [0.02, 0.07, 0.12]
    """

    coefficients: tuple[float, ...]
    full: float

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("full", self.full, strict=True)
        if not self.coefficients:
            raise ValueError("coefficients: got none; expected at least one.")
        lowest = float(polynomial(self.coefficients, torch.linspace(0, 1, 1001, dtype=torch.float64)).min())
        check_number("coefficients: smallest sigma for 0 ≤ x ≤ full", lowest)

    def at(self, nominal: Tensor) -> Tensor:
        return polynomial(self.coefficients, (nominal.abs() / self.full).clamp(0, 1))

    def in_words(self, unit: str = "", *, absolute: bool = False) -> str:
        return f"{polynomial_words(self.coefficients)}, r = value / {quantity(self.full, unit)}"


@dataclass(frozen=True)
class SpreadTable(Spread):
    """σ between points (x, σ), linear in log x; beyond them that of the nearest.

    Raises:
        ValueError: no points, x that do not ascend from above 0, or a negative σ.

    Example:
        >>> spread = nr.chip.spreads.SpreadTable(((1e-9, 0.3), (1e-7, 0.1)))
        >>> [round(x, 3) for x in spread.at(torch.tensor([1e-9, 1e-8, 1e-6])).tolist()]
        [0.3, 0.2, 0.1]
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("points: the table is empty; expected pairs (x, sigma).")
        below = 0.0
        for x, sigma in self.points:
            if not check_number("points: x", x, strict=True) > below:
                raise ValueError(f"points: x = {x:g} does not follow {below:g}; expected ascending x.")
            check_number("points: sigma", sigma)
            below = x

    def at(self, nominal: Tensor) -> Tensor:
        x, sigma = torch.tensor(self.points, dtype=nominal.dtype, device=nominal.device).T.contiguous()
        if len(x) == 1:
            return sigma.expand(nominal.shape)
        place, knots = nominal.detach().abs().clamp(float(x[0]), float(x[-1])).contiguous(), x.log()
        i = torch.bucketize(place, x[1:-1])
        here = torch.minimum(torch.maximum(nominal.abs(), x[0]), x[-1]).log()
        share = (here - knots[i]) / (knots[i + 1] - knots[i])
        return sigma[i] + share * (sigma[i + 1] - sigma[i])

    def in_words(self, unit: str = "", *, absolute: bool = False) -> str:
        points = [f"{sized(sigma, unit, absolute)} at {quantity(x, unit)}" for x, sigma in self.points]
        return ", ".join(points) + (" (linear in the logarithm of the value between them)" if len(points) > 1 else "")


@dataclass(frozen=True)
class FromCv(Spread):
    """The σ of log θ* that gives a lognormal the coefficient of variation ``cv``: √ln(1 + cv²).

    Example:
        >>> cv = nr.chip.spreads.PowerSpread(0.5, reference=1e-9, exponent=-0.5, largest=1.0)
        >>> spread = nr.chip.spreads.FromCv(cv)
        >>> [round(sigma, 3) for sigma in spread.at(torch.tensor([1e-9, 4e-9])).tolist()]  # of log θ*
        [0.472, 0.246]
    """

    cv: Spread

    def at(self, nominal: Tensor) -> Tensor:
        return self.cv.at(nominal).square().log1p().sqrt()

    def in_words(self, unit: str = "", *, absolute: bool = False) -> str:
        return f"as for a CV of {self.cv.in_words(unit, absolute=absolute)}"
