"""Variability laws: from standard normals u to deviations δ of one kind, differentiable in both.

A law acts in the chip's own units (``nominal`` is the programmed value, in A, S, s …), so its spread may depend on the
operating point: a float, or a :class:`~neurorobust.chip.spreads.Spread`. The u of a die never change: a reprogrammed
device keeps them, and only the spread changes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

from .._util.errors import check_number, plain_fields
from ..core.params import ABSOLUTE, POSITIVE, SIGNED
from .spreads import FromCv, Spread
from .wording import number, percent, quantity, short


def _check(name: str, spread: float | Spread) -> None:
    if not isinstance(spread, Spread):
        check_number(name, spread)


def _at(spread: float | Spread, nominal: Tensor) -> float | Tensor:
    return spread.at(nominal) if isinstance(spread, Spread) else spread


@dataclass(frozen=True)
class Reading:
    """One occasion on which devices are read.

    Attributes:
        time: seconds since programming.
        noise: standard normals that are new at every reading, a pair of the values' shape; None leaves read noise out.

    Example:
        >>> import chipmodels
        >>> from neurorobust.chip.variability import Reading
        >>> cell, u = chipmodels.load("pcm").kinds["weight"].law, torch.tensor([0.0, 1.0])
        >>> delta = cell.deviate("weight", (u * 0, u, u * 0, u * 0), torch.full((2,), 10e-6), Reading(time=3e7))
        >>> [round(value, 2) for value in delta.tolist()]  # one device drifts more than another
        [0.06, -0.06]
    """

    time: float = 0.0
    noise: tuple[Tensor, Tensor] | None = None


FRESH = Reading()


class Law(ABC):
    """Variability of one kind from neuron to neuron, or synapse to synapse, of a die.

    Attributes:
        n_extra_normals: standard normals of a device besides the first. ages: True if the device changes with time.
        has_read_noise: True if reading it adds noise.
    """

    n_extra_normals: int = 0
    ages: bool = False
    has_read_noise: bool = False

    @abstractmethod
    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        """Standard normals → the δ that :func:`neurorobust.apply` takes.

        Args:
            normals: all 1 + ``n_extra_normals`` of every device, each of the nominal's shape.
            nominal: programmed values, expanded, chip units.
            reading: time since programming, and read noise; without meaning for a law that has neither.
        """

    @property
    def without_outliers(self) -> Law:
        """The law without its outliers."""
        return self

    @property
    def of_first_normal(self) -> Law:
        """The part of the law that depends on the first normal of a device only.

        It holds right after programming, at the setting where no other normal counts. Tolerance corners are corners of
        this law.
        """
        return self

    def in_words(self, unit: str = "") -> str:
        """The law in one line, sizes in the chip's ``unit``; one without words of its own shows its representation."""
        return short(self)


def _relative(kind: str, nominal: Tensor, log: Tensor, law: str) -> Tensor:
    """δ of a value whose magnitude is multiplied by exp(log)."""
    if kind in POSITIVE:
        return log
    if kind in SIGNED:
        return nominal.sign() * torch.expm1(log)
    raise ValueError(f"{law}: got kind {kind!r}, whose nominal may be 0; use Offset with an absolute scale.")


@dataclass(frozen=True)
class Exact(Law):
    """θ* = θ: computed digitally, does not vary.

    Example:
        >>> law, theta, u = nr.chip.variability.Exact(), torch.tensor([2.0]), (torch.tensor([3.0]),)
        >>> law.deviate("weight", u, theta).tolist()  # δ: none, whatever u is
        [0.0]
    """

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        return torch.zeros_like(normals[0])

    def in_words(self, unit: str = "") -> str:
        return "exact"


@dataclass(frozen=True)
class Normal(Law):
    """θ* = θ + abs(θ)·cv·u, for signed kinds only: on a positive kind the tail would change its sign.

    Raises:
        ValueError: ``cv`` is negative or not finite.

    Example:
        >>> law, theta, u = nr.chip.variability.Normal(0.25), torch.tensor([2.0, -2.0]), (torch.ones(2),)
        >>> nr.apply({"weight": theta}, {"weight": law.deviate("weight", u, theta)})["weight"].tolist()
        [2.5, -1.5]
    """

    cv: float | Spread

    def __post_init__(self) -> None:
        plain_fields(self)
        _check("cv", self.cv)

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        if kind not in SIGNED:
            raise ValueError(f"Normal: got kind {kind!r}; expected a signed kind. Use LogNormal for a positive one.")
        return _at(self.cv, nominal) * normals[0]

    def in_words(self, unit: str = "") -> str:
        if self.cv == 0:
            return "exact"
        if isinstance(self.cv, Spread):
            return f"normal, relative standard deviation {self.cv.in_words(unit)}"
        return f"normal, standard deviation {percent(self.cv)} of the programmed value"


@dataclass(frozen=True)
class LogNormal(Law):
    """θ* = θ·exp(σu): the median is kept, the mean grows by exp(σ²/2), the sign never changes.

    Attributes:
        sigma: standard deviation of log θ*.

    Raises:
        ValueError: ``sigma`` is negative or not finite.

    Example:
        >>> law = nr.chip.variability.LogNormal.from_cv(0.2)  # σ = √ln(1 + 0.2²)
        >>> round(law.sigma, 3), round(law.cv, 3)
        (0.198, 0.2)
    """

    sigma: float | Spread

    def __post_init__(self) -> None:
        plain_fields(self)
        _check("sigma", self.sigma)

    @classmethod
    def from_cv(cls, cv: float | Spread) -> LogNormal:
        """The law whose standard deviation is cv times its mean: σ = √ln(1 + cv²)."""
        if isinstance(cv, Spread):
            return cls(FromCv(cv))
        return cls(math.sqrt(math.log1p(check_number("cv", cv) ** 2)))

    @property
    def cv(self) -> float:
        """Standard deviation over mean, where it is one number."""
        if isinstance(self.sigma, Spread):
            raise ValueError("cv: depends on the operating point; see sigma.at(nominal).")
        return math.sqrt(math.expm1(self.sigma**2))

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        return _relative(kind, nominal, _at(self.sigma, nominal) * normals[0], "LogNormal")

    def in_words(self, unit: str = "") -> str:
        if self.sigma == 0:
            return "exact"
        words = "lognormal, median at the programmed value, "
        if isinstance(self.sigma, FromCv):
            return f"{words}CV {self.sigma.cv.in_words(unit)}"
        if isinstance(self.sigma, Spread):
            return f"{words}standard deviation of the logarithm {self.sigma.in_words(unit)}"
        return f"{words}CV {percent(self.cv)}"


@dataclass(frozen=True)
class Gamma(Law):
    """θ* = θ·g, g of a gamma distribution with mean 1 and standard deviation cv; the mean is kept, never the sign
    changed.

    Raises:
        ValueError: ``cv`` is not above 0.

    Example:
        >>> law, tau, u = nr.chip.variability.Gamma(0.5), torch.tensor([0.02] * 3), (torch.tensor([-2.0, 0.0, 2.0]),)
        >>> factors = law.deviate("tau_mem", u, tau).exp()  # at −2, 0 and 2 standard deviations
        >>> [round(factor, 2) for factor in factors.tolist()]
        [0.26, 0.92, 2.23]
    """

    cv: float

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("cv", self.cv, strict=True)

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        return _relative(kind, nominal, _GammaQuantile.apply(normals[0], self.cv**-2.0).log(), "Gamma")

    def in_words(self, unit: str = "") -> str:
        return f"gamma, CV {percent(self.cv)} of the programmed value"


class _GammaQuantile(torch.autograd.Function):
    """u → the quantile at Φ(u) of a gamma distribution of mean 1 and the given shape; gradient φ(u)/density."""

    @staticmethod
    def forward(u: Tensor, shape: float) -> Tensor:
        x = u.detach().double().cpu().numpy()
        lower, upper = special.ndtr(x), special.ndtr(-x)  # each exact in its own tail
        quantile = np.where(x < 0, special.gammaincinv(shape, lower), special.gammainccinv(shape, upper)) / shape
        return torch.from_numpy(np.asarray(quantile)).to(u)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.shape = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        u, quantile = ctx.saved_tensors
        k = ctx.shape
        density = (k - 1) * (k * quantile).log() - k * quantile - math.lgamma(k) + math.log(k)
        normal = -0.5 * u.square() - 0.5 * math.log(2 * math.pi)
        return grad * (normal - density).exp(), None


@dataclass(frozen=True)
class Empirical(Law):
    """θ* = θ·f, f a quantile of measured factors: no family is assumed.

    Linear between the sorted factors, the i-th of n at probability (i − ½)/n; truncated at the lowest and the highest.

    Attributes:
        factors: measured θ*/θ, > 0, at least two, in any order.

    Raises:
        ValueError: fewer than two factors, or one that is not above 0.

    Example:
        >>> law = nr.chip.variability.Empirical((0.8, 1.0, 1.5))  # three measured chips
        >>> factors = law.deviate("tau_mem", (torch.tensor([-9.0, 0.0, 9.0]),), torch.full((3,), 0.02)).exp()
        >>> [round(factor, 2) for factor in factors.tolist()]
        [0.8, 1.0, 1.5]
    """

    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        plain_fields(self)
        if len(self.factors) < 2:
            raise ValueError(f"factors: got {len(self.factors)}; expected at least two measured θ*/θ.")
        for factor in self.factors:
            check_number("factors", factor, strict=True)

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        u = normals[0]
        logs = torch.tensor(sorted(self.factors), dtype=u.dtype, device=u.device).log()
        place = (torch.special.ndtr(u) * len(logs) - 0.5).clamp(0, len(logs) - 1)
        i = place.detach().floor().long().clamp(max=len(logs) - 2)
        return _relative(kind, nominal, logs[i] + (place - i) * (logs[i + 1] - logs[i]), "Empirical")

    def in_words(self, unit: str = "") -> str:
        low, high = min(self.factors), max(self.factors)
        return f"{len(self.factors)} measured factors, {number(low)} to {number(high)} times the programmed value"


@dataclass(frozen=True)
class Offset(Law):
    """θ* = θ + σu, σ in the parameter's chip unit: for v_leak, v_reset and v_floor, whose nominal may be 0, and for
    weights and biases with an absolute error. A weight or bias of exactly 0 stays 0: :func:`neurorobust.apply`
    multiplies by it.

    Raises:
        ValueError: ``sigma`` is negative or not finite.

    Example:
        >>> law, theta, u = nr.chip.variability.Offset(0.01), torch.zeros(2), (torch.tensor([-1.0, 2.0]),)
        >>> [round(delta, 3) for delta in law.deviate("v_leak", u, theta).tolist()]  # V, also where θ is 0
        [-0.01, 0.02]
    """

    sigma: float | Spread

    def __post_init__(self) -> None:
        plain_fields(self)
        _check("sigma", self.sigma)

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        move = _at(self.sigma, nominal) * normals[0]
        if kind in ABSOLUTE:
            return move
        if kind in SIGNED:
            return torch.where(nominal == 0, 0.0, move / torch.where(nominal == 0, 1.0, nominal.abs()))
        raise ValueError(
            f"Offset: got kind {kind!r}; expected v_leak, v_reset, v_floor, weight or bias. Use LogNormal."
        )

    def in_words(self, unit: str = "") -> str:
        if self.sigma == 0:
            return "exact"
        if isinstance(self.sigma, Spread):
            return f"normal offset, standard deviation {self.sigma.in_words(unit, absolute=True)}"
        return f"normal offset, standard deviation {quantity(self.sigma, unit)}, the same at every programmed value"


# ---- laws around a law


def _check_single(name: str, law: Law) -> None:
    if law.n_extra_normals:
        raise ValueError(
            f"{name}: got law {law!r}, whose devices have {1 + law.n_extra_normals} normals; expected a law of one."
        )


@dataclass(frozen=True)
class Clipped(Law):
    """Another law whose magnitudes end at 0: a conductance that would become negative is 0. Signed kinds only.

    Raises:
        ValueError: a law of several normals, such as that of a memory cell.

    Example:
        >>> law = nr.chip.variability.Clipped(nr.chip.variability.Normal(0.5))
        >>> law.deviate("weight", (torch.tensor([1.0, -9.0]),), torch.ones(2)).tolist()  # −1 is a conductance of 0
        [0.5, -1.0]
    """

    law: Law

    def __post_init__(self) -> None:
        _check_single("Clipped", self.law)

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        if kind not in SIGNED:
            raise ValueError(f"Clipped: got kind {kind!r}; expected a signed kind.")
        sign = torch.where(nominal < 0, -1.0, 1.0).to(normals[0])
        return sign * (sign * self.law.deviate(kind, normals, nominal, reading)).clamp(min=-1)

    @property
    def without_outliers(self) -> Law:
        return Clipped(self.law.without_outliers)

    def in_words(self, unit: str = "") -> str:
        return f"{self.law.in_words(unit)}; a value that would change its sign is 0"


@dataclass(frozen=True)
class Truncated(Law):
    """Another law whose u is a standard normal truncated to abs(u) ≤ sigmas.

    Raises:
        ValueError: a law of several normals, or ``sigmas`` not above 0.

    Example:
        >>> law = nr.chip.variability.Truncated(nr.chip.variability.Normal(0.1), sigmas=2.0)
        >>> law.deviate("weight", (torch.tensor([9.0]),), torch.ones(1)).tolist()  # never beyond 2 · 0.1
        [0.20000000298023224]
    """

    law: Law
    sigmas: float

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_single("Truncated", self.law)
        check_number("sigmas", self.sigmas, strict=True)

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        u = normals[0]
        low = special.ndtr(-self.sigmas)
        inside = torch.special.ndtri(low + (1 - 2 * low) * torch.special.ndtr(u.double()))
        return self.law.deviate(kind, (inside.clamp(-self.sigmas, self.sigmas).to(u.dtype),), nominal, reading)

    @property
    def without_outliers(self) -> Law:
        return self.law.without_outliers

    def in_words(self, unit: str = "") -> str:
        return f"{self.law.in_words(unit)}; truncated at {number(self.sigmas)} standard deviations"


@dataclass(frozen=True)
class Outliers(Law):
    """Another law of which a fraction of the devices are outliers: θ* = θ·f, log f uniform in [log low, log high].

    The outliers are the devices with the highest u, so they are the same on every setting, and one-sided.

    Raises:
        ValueError: a law of several normals, a fraction outside 0 ≤ fraction < 1, or not 0 < low ≤ high.

    Example:
        >>> law = nr.chip.variability.Outliers(nr.chip.variability.LogNormal(0.1), fraction=0.01, low=2.0, high=3.0)
        >>> factors = law.deviate("tau_mem", (torch.tensor([0.0, 2.5, 3.5]),), torch.full((3,), 0.02)).exp()
        >>> [round(factor, 2) for factor in factors.tolist()]  # the last two are outliers
        [1.0, 2.33, 2.97]
    """

    law: Law
    fraction: float
    low: float
    high: float

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_single("Outliers", self.law)
        if not check_number("fraction", self.fraction) < 1:
            raise ValueError(f"fraction: got {self.fraction:g}; expected less than 1.")
        check_number("low", self.low, strict=True)
        if check_number("high", self.high) < self.low:
            raise ValueError(f"high: got {self.high:g}; expected at least low, {self.low:g}.")

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        u = normals[0]
        above = torch.special.ndtr(-u.double())  # the probability of a higher u
        outlier = above < self.fraction
        inside = -torch.special.ndtri(((above - self.fraction) / (1 - self.fraction)).clamp(1e-300, 1 - 2**-53))
        others = self.law.deviate(kind, (torch.where(outlier, 0.0, inside).to(u.dtype),), nominal, reading)
        share = (1 - above / max(self.fraction, 1e-300)).clamp(0, 1)
        log = math.log(self.low) + share * math.log(self.high / self.low)
        return torch.where(outlier, _relative(kind, nominal, log.to(u.dtype), "Outliers"), others)

    @property
    def without_outliers(self) -> Law:
        return self.law.without_outliers

    def in_words(self, unit: str = "") -> str:
        return (
            f"{self.law.in_words(unit)}; {percent(self.fraction)} of the devices are outliers, "
            f"{number(self.low)} to {number(self.high)} times the programmed value"
        )


@dataclass(frozen=True)
class SettingDecorrelation(Law):
    """Another law at u cos φ + u′ sin φ, φ = rate · ln(abs(x)/reference): distant settings of a device correlate less.

    The logarithm counts to ±π, a factor of 23.

    The correlation of a device's log deviations at two settings is cos(rate · ln ratio), their spread is the law's.

    Attributes:
        rate: radians per e-fold. reference: the programmed value at which u counts alone, chip units.

    Raises:
        ValueError: a law of several normals, a negative ``rate``, or ``reference`` not above 0.

    Example:
        >>> from neurorobust.chip.variability import LogNormal, SettingDecorrelation
        >>> law, u = SettingDecorrelation(LogNormal(0.1), rate=0.5, reference=0.01), (torch.ones(2), torch.zeros(2))
        >>> delta = law.deviate("tau_mem", u, torch.tensor([0.01, 0.1]))  # at the reference, and ten times it
        >>> [round(value, 3) for value in delta.tolist()]
        [0.1, 0.041]
    """

    law: Law
    rate: float
    reference: float

    n_extra_normals = 1

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_single("SettingDecorrelation", self.law)
        check_number("rate", self.rate)
        check_number("reference", self.reference, strict=True)

    def deviate(self, kind: str, normals: tuple[Tensor, ...], nominal: Tensor, reading: Reading = FRESH) -> Tensor:
        tiny = torch.finfo(nominal.dtype).tiny
        angle = self.rate * (nominal.abs().clamp(min=tiny) / self.reference).log().clamp(-math.pi, math.pi)
        return self.law.deviate(kind, (normals[0] * angle.cos() + normals[1] * angle.sin(),), nominal, reading)

    @property
    def without_outliers(self) -> Law:
        return replace(self, law=self.law.without_outliers)

    @property
    def of_first_normal(self) -> Law:
        return self.law

    def in_words(self, unit: str = "") -> str:
        return (
            f"{self.law.in_words(unit)}; one device at two settings: correlation cos({number(self.rate)} · ln of their "
            f"ratio), up to a ratio of 23"
        )
