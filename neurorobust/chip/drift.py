"""Memory cells over time: programming noise, drift, relaxation and read noise of a conductance.

The laws act on r = G / G_max, a device's conductance over the largest, dimensionless; :class:`Device` puts them
together, in siemens. All random numbers are arguments, as standard normals: the caller decides which are constant
for a die (programming, ageing) and which are new at every read. Differentiable, except at the stated truncations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .._util.errors import check_number, plain_fields, unknown
from .spreads import polynomial
from .wording import number, percent, quantity, within, words_of
from .wording import polynomial as polynomial_words

Curve = Callable[[Tensor], Tensor]

_SMALLEST = 1e-7  # r below it counts as this much in logarithms and powers
_UNITS = {
    **dict.fromkeys(("ms", "millisecond"), 1e-3),
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour"), 3600.0),
    **dict.fromkeys(("d", "day"), 86400.0),
    **dict.fromkeys(("week",), 7 * 86400.0),
    **dict.fromkeys(("y", "year"), 365.25 * 86400.0),
}


def seconds(time: str | float) -> float:
    """A time in seconds: a number is in seconds, text is a number and a unit.

    Units: ms, s, min, h, day, week, year (of 365.25 days), also in full and in plural; a month is not one, nor is Ms.

    Example:
        >>> seconds("30 days"), seconds("1.5 h"), seconds(3600)
        (2592000.0, 5400.0, 3600.0)
    """
    if not isinstance(time, str):
        return check_number("time", time)
    match = re.fullmatch(r"\s*([\d.]+(?:[eE][+-]?\d+)?)\s*([A-Za-z]+)\s*", time)
    try:
        number, unit = (float(match[1]), match[2]) if match else (math.nan, "")
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"time: got {time!r}; expected a number ≥ 0 and a unit, such as '30 days', or seconds.")
    word = unit.lower().removesuffix("s") if len(unit) > 2 else unit  # ms is not Ms
    if word in _UNITS:
        return check_number("time", number * _UNITS[word])
    raise unknown("time: unit", unit, _UNITS)


def words(time: float) -> str:
    """Seconds in the largest unit of which they are at least one.

    Example:
        >>> words(2592000.0), words(5400.0)
        ('30 days', '1.5 h')
    """
    for unit, size in (("years", 365.25 * 86400), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if time >= size:
            count = f"{time / size:.4g}"
            return f"{count} {unit.removesuffix('s') if count == '1' else unit}"
    return f"{time:.4g} s"


@dataclass(frozen=True)
class PolynomialCurve:
    """Σ_i coefficients[i] · r^i.

    Example:
        >>> curve = nr.chip.drift.PolynomialCurve((0.25, 2.0))  # 0.25 + 2 r
        >>> curve(torch.tensor([0.0, 0.5])).tolist()
        [0.25, 1.25]
    """

    coefficients: tuple[float, ...]

    def __call__(self, r: Tensor) -> Tensor:
        return polynomial(self.coefficients, r)

    def in_words(self, unit: str = "") -> str:
        return polynomial_words(self.coefficients)


@dataclass(frozen=True)
class LogarithmCurve:
    """slope · ln r + offset, between low and high.

    Example:
        >>> curve = nr.chip.drift.LogarithmCurve(slope=-0.5, offset=0.25, high=1.0)
        >>> curve(torch.tensor([1e-9, 1.0])).tolist()
        [1.0, 0.25]
    """

    slope: float
    offset: float
    low: float = -math.inf
    high: float = math.inf

    def __call__(self, r: Tensor) -> Tensor:
        return (self.slope * r.clamp(min=_SMALLEST).log() + self.offset).clamp(self.low, self.high)

    def in_words(self, unit: str = "") -> str:
        return f"{number(self.slope)} · ln r + {number(self.offset)}{within(self.low, self.high)}".replace("+ −", "− ")


@dataclass(frozen=True)
class PowerCurve:
    """scale · r^exponent, at most high.

    Example:
        >>> curve = nr.chip.drift.PowerCurve(scale=0.5, exponent=-0.5, high=2.0)
        >>> curve(torch.tensor([1e-9, 1.0])).tolist()
        [2.0, 0.5]
    """

    scale: float
    exponent: float
    high: float = math.inf

    def __call__(self, r: Tensor) -> Tensor:
        return (self.scale * r.clamp(min=_SMALLEST) ** self.exponent).clamp(max=self.high)

    def in_words(self, unit: str = "") -> str:
        return f"{number(self.scale)} · r^{number(self.exponent)}{within(-math.inf, self.high)}"


@dataclass(frozen=True)
class PiecewiseCurve:
    """``below(r)`` where r < at, ``above(r)`` elsewhere.

    Example:
        >>> low, high = nr.chip.drift.PolynomialCurve((1.0,)), nr.chip.drift.PolynomialCurve((0.5,))
        >>> nr.chip.drift.PiecewiseCurve(0.3, low, high)(torch.tensor([0.1, 0.8])).tolist()
        [1.0, 0.5]
    """

    at: float
    below: Curve
    above: Curve

    def __call__(self, r: Tensor) -> Tensor:
        return torch.where(r < self.at, self.below(r), self.above(r))


class Ageing(Protocol):
    """Change of a device with time after programming."""

    def age(self, target: Tensor, programmed: Tensor, u: Tensor, time: float) -> Tensor:
        """The conductance, relative, ``time`` seconds after programming; at 0 s it is ``programmed``.

        Args:
            target, programmed: relative conductances, intended and reached. u: a standard normal per device.
        """


@dataclass(frozen=True)
class PowerDrift:
    """r(t) = r · (1 + t/t0)^−ν,   ν = abs(mean(r*) + spread(r*) · u), r* the target: phase-change memory.

    The usual G0 (t/t0)^−ν with t counted from the first read, t0 after programming. Source of the form: Nandakumar et
    al., ICECS 2019.

    Attributes:
        mean, spread: of the exponent, as functions of r*. t0: s.

    Raises:
        ValueError: ``t0`` is not above 0.

    Example:
        >>> from neurorobust.chip.drift import PolynomialCurve, PowerDrift
        >>> drift, r = PowerDrift(PolynomialCurve((0.05,)), PolynomialCurve((0.0,)), t0=20.0), torch.tensor([0.5])
        >>> [round(drift.age(r, r, torch.zeros(1), t).item(), 3) for t in (0.0, 3600.0, 3.15e7)]  # new, 1 h, 1 year
        [0.5, 0.386, 0.245]
    """

    mean: Curve
    spread: Curve
    t0: float

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("t0", self.t0, strict=True)

    def exponent(self, target: Tensor, u: Tensor) -> Tensor:
        """ν of each device."""
        return (self.mean(target) + self.spread(target) * u).abs()

    def age(self, target: Tensor, programmed: Tensor, u: Tensor, time: float) -> Tensor:
        return programmed * (1 + time / self.t0) ** -self.exponent(target, u)

    def in_words(self, unit: str = "") -> str:
        mean, spread = words_of(self.mean), words_of(self.spread)
        start = quantity(self.t0, "s")
        return f"times (1 + t / {start})^−ν, ν the size of a normal with mean {mean} and standard deviation {spread}"


@dataclass(frozen=True)
class LogRelaxation:
    """r(t) = r + drift · ln t + (growth · ln t + spread) · u,  t in s: filamentary ReRAM, independent of the target.

    No value is known between programming (t = 0) and t = 1 s. One u for all times: a device keeps its rank, which is
    assumed.

    Attributes:
        drift: mean change per e-fold of time. growth: change of the spread per e-fold of time. spread: at 1 s.

    Raises:
        ValueError: a number that is not finite, or a negative ``growth`` or ``spread``.

    Example:
        >>> relaxing, r = nr.chip.drift.LogRelaxation(drift=-0.01, growth=0.0, spread=0.0), torch.tensor([0.5])
        >>> [round(relaxing.age(r, r, torch.zeros(1), t).item(), 3) for t in (1.0, 3600.0)]  # new, 1 h
        [0.5, 0.418]
    """

    drift: float
    growth: float
    spread: float

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("drift", self.drift, low=-math.inf, strict=True)
        check_number("growth", self.growth)
        check_number("spread", self.spread)

    def age(self, target: Tensor, programmed: Tensor, u: Tensor, time: float) -> Tensor:
        if time == 0:
            return programmed
        if time < 1:
            raise ValueError(f"time: got {time:g} s; the relaxation is known at 0 and from 1 s on.")
        folds = math.log(time)
        return programmed + self.drift * folds + (self.growth * folds + self.spread) * u

    def in_words(self, unit: str = "") -> str:
        return (
            f"for each e-fold of time r moves by {number(self.drift)} and its standard deviation, "
            f"{number(self.spread)} at 1 s, grows by {number(self.growth)}"
        )


@dataclass(frozen=True)
class SampledRelaxation:
    """r(t) = r* + σ_t(r*) · u at the times that were measured, and at no other; σ_t replaces the programming noise.

    One u for all times: a device keeps its rank, which is assumed.

    Attributes:
        spreads: (t in s, σ_t as a function of the target r*), each time once.

    Raises:
        ValueError: no time, or a time twice.

    Example:
        >>> from neurorobust.chip.drift import PolynomialCurve, SampledRelaxation
        >>> ageing, r = SampledRelaxation(((1.0, PolynomialCurve((0.1,))),)), torch.tensor([0.5])
        >>> round(ageing.age(r, r, torch.ones(1), 1.0).item(), 2)  # one standard deviation above the target
        0.6
    """

    spreads: tuple[tuple[float, Curve], ...]

    def __post_init__(self) -> None:
        if not self.spreads or len(dict(self.spreads)) < len(self.spreads):
            raise ValueError(
                f"spreads: got times {[time for time, _ in self.spreads]}; expected at least one, each once."
            )

    def age(self, target: Tensor, programmed: Tensor, u: Tensor, time: float) -> Tensor:
        if time == 0:
            return programmed
        known = dict(self.spreads)
        if time not in known:
            times = ", ".join(f"{each:g}" for each in sorted(known))
            raise ValueError(f"time: got {time:g} s; measured at {times} s only, and no law between them is known.")
        return target + known[time](target) * u

    def in_words(self, unit: str = "") -> str:
        parts = [f"{words(time)}: {words_of(curve)}" for time, curve in self.spreads]
        return f"standard deviation of r at the measured times only: {'; '.join(parts)}"


@dataclass(frozen=True)
class ReadNoise:
    """σ(r, t) = q(r_p) · √ln((t + start + t_read)/(2 t_read)), relative: 1/f noise gathered since programming.

    r_p is the programmed conductance. Source of the form: Nandakumar et al., ICECS 2019.

    Attributes:
        q: as a function of r_p. t_read: duration of one read, s. start: time from programming to t = 0, s, ≥ t_read.

    Raises:
        ValueError: ``t_read`` is not above 0, or ``start`` is smaller.

    Example:
        >>> noise = nr.chip.drift.ReadNoise(nr.chip.drift.PolynomialCurve((0.01,)), t_read=250e-9, start=20.0)
        >>> [round(noise.sigma(torch.ones(1), t).item(), 3) for t in (0.0, 3.15e7)]  # relative: new, 1 year
        [0.042, 0.056]
    """

    q: Curve
    t_read: float
    start: float

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("start", self.start, low=check_number("t_read", self.t_read, strict=True))

    def sigma(self, programmed: Tensor, time: float) -> Tensor:
        """Standard deviation of one read over the conductance."""
        return self.q(programmed) * math.sqrt(math.log((time + self.start + self.t_read) / (2 * self.t_read)))

    def in_words(self, unit: str = "") -> str:
        waited = f"(t + {quantity(self.start + self.t_read, 's')}) / {quantity(2 * self.t_read, 's')}"
        return f"1/f, standard deviation {words_of(self.q)} of the conductance, times √ln({waited})"


@dataclass(frozen=True)
class ConstantReadNoise:
    """σ = fraction of the conductance, at every conductance and time.

    Raises:
        ValueError: ``fraction`` is negative or not finite.

    Example:
        >>> nr.chip.drift.ConstantReadNoise(0.01).in_words()
        '1 % of the conductance'
    """

    fraction: float

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("fraction", self.fraction)

    def sigma(self, programmed: Tensor, time: float) -> Tensor:
        """Standard deviation of one read over the conductance."""
        return torch.full_like(programmed, self.fraction)

    def in_words(self, unit: str = "") -> str:
        return f"{percent(self.fraction)} of the conductance"


@dataclass(frozen=True)
class Device:
    """One analog memory cell, from the intended conductance to the one that is read, in S.

    ::

        programmed   G_p = max(G* + g_max · programming(G*/g_max) · u_0, 0)
        aged         G_a = g_max · ageing(G*/g_max, G_p/g_max, u_1, t)             within low … high
        read         G   = G_a · (1 + σ(G_p/g_max, t) · u_fresh)                   within low … high

    The two frozen normals of a device, u = (u_0, u_1), belong to the die: it is the same die at any time.

    Attributes:
        g_max: largest conductance, S. programming: σ/g_max as a function of r. ageing, reading: None for none.
        low, high: truncation, S; no conductance is negative.

    Raises:
        ValueError: ``g_max`` not above 0, or not 0 ≤ low < high.

    Example:
        >>> from neurorobust.chip.drift import Device, PolynomialCurve, PowerDrift
        >>> drift = PowerDrift(PolynomialCurve((0.05,)), PolynomialCurve((0.0,)), t0=20.0)
        >>> device, u = Device(25e-6, PolynomialCurve((0.03,)), drift), (torch.zeros(1), torch.zeros(1))
        >>> [round(device.at(torch.full((1,), 20e-6), u, t).item() * 1e6, 1) for t in (0.0, "1 day")]  # µS
        [20.0, 13.2]
    """

    g_max: float
    programming: Curve
    ageing: Ageing | None = None
    reading: ReadNoise | ConstantReadNoise | None = None
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("g_max", self.g_max, strict=True)
        check_number("low", self.low)
        if not self.low < self.high:
            raise ValueError(f"high: got {self.high!r}; expected more than low, {self.low:g} S.")

    def program(self, target: Tensor, u: Tensor) -> Tensor:
        """Conductances after programming, S.

        Args:
            target: S, ≥ 0, any shape. u: standard normals of that shape, frozen with the die.

        Raises:
            ValueError: a target is negative, or beyond g_max by more than rounding.
        """
        smallest, largest = (float(end) for end in target.detach().aminmax()) if target.numel() else (0.0, 0.0)
        if not (smallest >= 0 and largest <= self.g_max * (1 + 1e-6)):
            raise ValueError(f"target: got {smallest:g} to {largest:g} S; expected 0 to g_max, {self.g_max:g} S.")
        return (target + self.g_max * self.programming(target / self.g_max) * u).clamp(min=0)

    def at(self, target: Tensor, u: tuple[Tensor, Tensor], time: str | float = 0.0) -> Tensor:
        """Conductances some time after programming, S, without read noise; ``time`` as :func:`seconds` takes it."""
        t, programmed = seconds(time), self.program(target, u[0])
        if self.ageing is None:
            return programmed.clamp(self.low, self.high)
        aged = self.ageing.age(target / self.g_max, programmed / self.g_max, u[1], t)
        return (self.g_max * aged).clamp(self.low, self.high)

    def read(self, target: Tensor, u: tuple[Tensor, Tensor], fresh: Tensor, time: str | float = 0.0) -> Tensor:
        """:meth:`at` with the noise of one read: ``fresh`` are standard normals that are new at every read."""
        aged = self.at(target, u, time)
        if self.reading is None:
            return aged
        sigma = self.reading.sigma(self.program(target, u[0]) / self.g_max, seconds(time))
        return (aged * (1 + sigma * fresh)).clamp(self.low, self.high)

    def in_words(self, unit: str = "") -> str:
        """The cell in one line."""
        text = f"r = G / {quantity(self.g_max, 'S')}; programming: standard deviation of r {words_of(self.programming)}"
        text += "" if self.ageing is None else f"; ageing: {words_of(self.ageing)}"
        text += "" if self.reading is None else f"; read noise: {words_of(self.reading)}"
        held = f"; G{within(self.low, self.high, 'S')}" if self.low or math.isfinite(self.high) else ""
        return text + held


def compensation(programmed: Tensor, now: Tensor) -> Tensor:
    """Global drift compensation: mean(abs(programmed)) / mean(abs(now)), one factor that restores the mean magnitude.

    Args:
        programmed, now: weights (or outputs for one-hot inputs) of a whole array after programming, and later.

    Raises:
        ValueError: everything is 0 now.
    """
    size = now.abs().mean()
    if not size > 0:
        raise ValueError("now: all are 0; expected a value that is not.")
    return programmed.abs().mean() / size
