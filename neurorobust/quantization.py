"""Quantization: from trained values to the codes a chip can hold, and back.

Every :class:`Codec` says which values it holds. From that follow ``encode`` (the code of the nearest one), ``decode``,
``quantize`` (rounding that lets the gradient through) and ``error`` (what was lost). No codec knows a chip: numbers and
their sources belong to the chip models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ._util.errors import check_count, check_finite, check_number


@dataclass(frozen=True)
class Lost:
    """What values lose when a codec holds them.

    Attributes:
        count: how many values there were.
        rms_relative: root mean square error over the root mean square of the values; 0 where both are 0.
        largest: largest absolute error, in the values' unit.
        became_zero: how many that were not 0 are held as 0.
        out_of_range: how many lie beyond what the codec holds.
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

    @property
    def first(self) -> int:
        """The smallest code."""
        return 0

    @abstractmethod
    def held(self) -> np.ndarray:
        """Every value that is held, float64, by code from ``first`` on, in any order of size."""

    def position(self, values: Tensor) -> Tensor:
        """Where values lie on the scale on which "nearest" is measured; increasing."""
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
            values: any shape and type of float. name: what an error calls them.

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
            ValueError: a code is not an integer, or means nothing.
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

    def error(self, values: Tensor, name: str = "values") -> Lost:
        """What values lose when they are held, out-of-range ones (at the end) included."""
        check_finite({name: values.detach()})
        if not values.numel():
            return Lost(0, 0.0, 0.0, 0, 0)
        exact = values.detach().double()
        held = self.decode(self.nearest(exact))
        miss, size = float((held - exact).norm()), float(exact.norm())
        return Lost(
            count=exact.numel(),
            rms_relative=miss / size if size else 0.0 if not miss else float("inf"),
            largest=float((held - exact).abs().max()),
            became_zero=int(((held == 0) & (exact != 0)).sum()),
            out_of_range=int(self.outside(exact).sum()),
        )


class LogCodec(Codec):
    """A codec of values > 0 to which 1 and 1.1 are as near as 10 and 11: "nearest" is in the logarithm."""

    def position(self, values: Tensor) -> Tensor:
        return values.clamp(min=0).log()  # 0 and below: −∞, out of range


@dataclass(frozen=True)
class Saturating(Codec):
    """Another codec that holds a value out of range at its end; ``error`` still counts it, and its gradient is 1."""

    codec: Codec

    @property
    def first(self) -> int:
        return self.codec.first

    def held(self) -> np.ndarray:
        return self.codec.held()

    def position(self, values: Tensor) -> Tensor:
        return self.codec.position(values)

    def encode(self, values: Tensor, name: str = "values") -> Tensor:
        check_finite({name: values.detach()})
        return self.nearest(values)


@dataclass(frozen=True)
class Uniform(Codec):
    """value = offset + step · code, code in 0 … 2^bits − 1, or −2^(bits−1) … 2^(bits−1) − 1 where signed.

    Attributes:
        bits: 1 to 16. step: between neighbours, > 0, in the values' unit. offset: the value of code 0.
    """

    bits: int
    step: float
    signed: bool = True
    offset: float = 0.0

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        check_number("step", self.step, strict=True)
        check_number("offset", self.offset, low=-float("inf"), strict=True)

    @classmethod
    def holding(cls, values: Tensor, bits: int, *, signed: bool = True) -> Uniform:
        """The one whose last code means the largest magnitude."""
        if signed:
            check_count("bits", bits, 2)
        return cls(bits, _largest(values) / (2 ** (_check_bits(bits) - signed) - 1), signed)

    @property
    def first(self) -> int:
        return -(2 ** (self.bits - 1)) if self.signed else 0

    def held(self) -> np.ndarray:
        return self.offset + self.step * (np.arange(2.0**self.bits) + self.first)


@dataclass(frozen=True)
class Table(Codec):
    """value = levels[code]: levels in any order, so that a converter that is not monotone is held as it is.

    Attributes:
        levels: at least one, finite, in the values' unit.
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.levels:
            raise ValueError("levels: got none; expected at least one value.")
        check_finite({"levels": torch.tensor(self.levels, dtype=torch.float64)})

    def held(self) -> np.ndarray:
        return np.array(self.levels, dtype=np.float64)


@dataclass(frozen=True)
class LogUniform(LogCodec):
    """value = low · (high/low)^(code/(n − 1)): n values whose ratio is as near to 1 + relative_step as fits the range.

    It stands for a converter of which only the range and the relative step are known.

    Attributes:
        low, high: the ends, > 0. relative_step: 0.0063 for 0.63 %.
    """

    low: float
    high: float
    relative_step: float

    def __post_init__(self) -> None:
        check_number("low", self.low, strict=True)
        check_number("high", self.high, low=self.low, strict=True)
        if check_number("relative_step", self.relative_step) < 1e-6:
            raise ValueError(f"relative_step: got {self.relative_step!r}; expected at least 1e-6.")

    def held(self) -> np.ndarray:
        steps = round(np.log(self.high / self.low) / np.log1p(self.relative_step))
        return np.geomspace(self.low, self.high, max(steps, 1) + 1)


@dataclass(frozen=True)
class CoarseFine(Codec):
    """value = largest[coarse] · fine/(n − 1), code = n · coarse + fine: ranges that overlap, so not monotone.

    Attributes:
        largest: the full scale of each coarse range, > 0, in the values' unit. n: how many fine steps a range has.
    """

    largest: tuple[float, ...]
    n: int = 256

    def __post_init__(self) -> None:
        check_count("n", self.n, 2)
        if not self.largest:
            raise ValueError("largest: got none; expected the full scale of at least one coarse range.")
        for value in self.largest:
            check_number("largest", value, strict=True)

    def held(self) -> np.ndarray:
        return np.outer(self.largest, np.arange(self.n) / (self.n - 1)).ravel()

    def split(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(coarse, fine) of each code."""
        return codes // self.n, codes % self.n


@dataclass(frozen=True)
class Multiplicity(Codec):
    """value = unit · code: a weight as a number of equal synapses, positive codes excitatory, negative inhibitory.

    Attributes:
        excitatory, inhibitory: the weight of one synapse of either type, > 0. largest: how many there may be.
    """

    excitatory: float
    inhibitory: float
    largest: int

    def __post_init__(self) -> None:
        check_number("excitatory", self.excitatory, strict=True)
        check_number("inhibitory", self.inhibitory, strict=True)
        check_count("largest", self.largest)

    @property
    def first(self) -> int:
        return -self.largest

    def held(self) -> np.ndarray:
        codes = np.arange(-self.largest, self.largest + 1)
        return codes * np.where(codes > 0, self.excitatory, self.inhibitory)

    def entries(self, codes: Tensor) -> Tensor:
        """How many synapses each code takes of its neuron's fan-in."""
        return codes.abs()


@dataclass(frozen=True)
class SignedPair(Codec):
    """value = step · (e − i): a signed weight as an excitatory and an inhibitory row of unsigned codes, one of them 0.

    Attributes:
        bits: of each row, 1 to 15; codes are ± (2^bits − 1). step: > 0, in the values' unit.
    """

    bits: int
    step: float

    def __post_init__(self) -> None:
        _check_bits(self.bits, 15)
        check_number("step", self.step, strict=True)

    @classmethod
    def holding(cls, values: Tensor, bits: int) -> SignedPair:
        """The one whose last code means the largest magnitude."""
        return cls(bits, _largest(values) / (2 ** _check_bits(bits, 15) - 1))

    @property
    def first(self) -> int:
        return 1 - 2**self.bits

    def held(self) -> np.ndarray:
        return self.step * np.arange(self.first, 1 - self.first)

    def rows(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(excitatory, inhibitory) codes, each 0 … 2^bits − 1."""
        return codes.clamp(min=0), (-codes).clamp(min=0)


@dataclass(frozen=True)
class ConductancePair:
    """w = (G₊ − G₋)/gain: a weight as the difference of two devices, the idle one at g_min.

    Continuous: nothing is rounded. :class:`PairLevels` rounds.

    Attributes:
        g_min, g_max: of one device, S, 0 ≤ g_min < g_max. gain: S per unit of weight, > 0.
    """

    g_min: float
    g_max: float
    gain: float

    def __post_init__(self) -> None:
        check_number("g_min", self.g_min)
        check_number("g_max", self.g_max, low=self.g_min, strict=True)
        check_number("gain", self.gain, strict=True)

    def split(self, weights: Tensor, name: str = "weights") -> tuple[Tensor, Tensor]:
        """(G₊, G₋) in S, differentiable, shape of the weights.

        Raises:
            ValueError: a weight is not finite, or needs more than g_max.
        """
        check_finite({name: weights.detach()})
        most = (self.g_max - self.g_min) / self.gain
        largest = float(weights.detach().abs().max()) if weights.numel() else 0.0
        if largest > most * (1 + 1e-6):
            raise ValueError(
                f"{name}: the largest magnitude is {largest:g}; a pair from {self.g_min:g} to {self.g_max:g} S holds "
                f"{most:g} at {self.gain:g} S a unit. Choose a smaller gain."
            )
        size, signed = self.gain * weights.abs(), self.gain * weights
        return self.g_min + (size + signed) / 2, self.g_min + (size - signed) / 2

    def join(self, plus: Tensor, minus: Tensor) -> Tensor:
        """The weights that two conductances in S mean."""
        return (plus - minus) / self.gain


@dataclass(frozen=True)
class PairLevels(Codec):
    """A conductance pair whose devices are set to one of n equidistant levels, g_min and g_max included.

    Codes run from −(n − 1) to n − 1; ``pair.split(decode(codes))`` gives the conductances.
    """

    pair: ConductancePair
    n: int

    def __post_init__(self) -> None:
        check_count("n", self.n, 2)

    @property
    def first(self) -> int:
        return 1 - self.n

    def held(self) -> np.ndarray:
        step = (self.pair.g_max - self.pair.g_min) / (self.n - 1) / self.pair.gain
        return step * np.arange(self.first, self.n)


@dataclass(frozen=True)
class BitShift(LogCodec):
    """value = −dt / ln(1 − 2^−code): time constants of a decay computed as v − v/2^code in every step of dt.

    With it exp(−dt/value) is that decay exactly. The usual dt · 2^code is its limit for large codes: 39 % too long at
    code 1, 0.2 % at 8.

    Attributes:
        dt: s. largest, smallest: codes, 1 ≤ smallest < largest ≤ 50.
    """

    dt: float
    largest: int
    smallest: int = 1

    def __post_init__(self) -> None:
        check_number("dt", self.dt, strict=True)
        check_count("smallest", self.smallest)
        check_count("largest", self.largest, self.smallest + 1)
        if self.largest > 50:
            raise ValueError(f"largest: got {self.largest}; expected at most 50.")

    @property
    def first(self) -> int:
        return self.smallest

    def held(self) -> np.ndarray:
        return -self.dt / np.log1p(-(2.0 ** -np.arange(self.smallest, self.largest + 1)))


@dataclass(frozen=True)
class MaskCodebook(Codec):
    """w = ± Σ_k bit_k(code) · currents[k]: a mask over a few free currents that a whole core shares.

    Codes are integers from −(2^n − 1) to 2^n − 1; the sign is that of the synapse type (+ AMPA, − GABA), 0 is no
    synapse at all. ``encode`` refuses no finite weight: a fit gives up the rare large ones for the many small ones;
    ``error`` counts those beyond the largest level.

    Attributes:
        currents: the n currents, ascending, in units of the weight.
    """

    currents: tuple[float, ...]

    @property
    def first(self) -> int:
        return 1 - 2 ** len(self.currents)

    def levels(self) -> np.ndarray:
        """The 2^n magnitudes, by code."""
        n = len(self.currents)
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return bits @ np.asarray(self.currents)

    def held(self) -> np.ndarray:
        levels = self.levels()
        return np.concatenate([-levels[:0:-1], levels])

    def nearest(self, values: Tensor) -> Tensor:
        """The code of the nearest level, for every weight; halfway the smaller magnitude."""
        levels = self.levels()
        order = np.argsort(levels, kind="stable")
        bounds = (levels[order][1:] + levels[order][:-1]) / 2
        codes = order[np.searchsorted(bounds, values.detach().abs().double().numpy())]
        return torch.from_numpy(np.asarray(codes)) * values.sign().long()

    def encode(self, values: Tensor, name: str = "values") -> Tensor:
        check_finite({name: values.detach()})
        return self.nearest(values)


def fit_masks(weights: Tensor, bits: int = 4, rounds: int = 50, starts: int = 0) -> MaskCodebook:
    """The currents whose subset sums lie nearest to the magnitudes of some weights, in mean square.

    Alternates between assigning every weight its nearest level and solving for the currents (least squares), from
    several binary-weighted starts; the best is kept. Deterministic.

    Args:
        weights: any shape, at least one non-zero. bits: number of currents. rounds: of the alternation, at most.
        starts: how many further starts to try, geometric series of other ratios; the result is never worse for it.
    """
    check_count("bits", bits)
    check_count("starts", starts, 0)
    magnitudes = weights.detach().abs().double().numpy().ravel()
    if not magnitudes.any():
        raise ValueError("weights: all are 0; a core without a synapse has no codebook.")
    selects = (np.arange(2**bits)[:, None] >> np.arange(bits) & 1).astype(float)
    best, best_error = 2.0 ** np.arange(bits), np.inf
    for ratio, fraction in [(2.0, fraction) for fraction in (0.3, 0.45, 0.6, 0.8, 1.0)] + _more_starts(starts):
        series = ratio ** np.arange(bits)
        currents = series / series.sum() * magnitudes.max() * fraction
        for _ in range(rounds):
            codes = torch.from_numpy(magnitudes)
            chosen = selects[MaskCodebook(tuple(currents)).nearest(codes).numpy()]
            error = float(np.square(magnitudes - chosen @ currents).mean())
            if error < best_error * (1 - 1e-9):
                best, best_error = currents, error
            improved = np.abs(np.linalg.lstsq(chosen, magnitudes, rcond=None)[0])
            if np.allclose(improved, currents, rtol=1e-6, atol=0):
                break
            currents = np.sort(improved)
    return MaskCodebook(tuple(float(current) for current in np.sort(best)))


def _more_starts(n: int) -> list[tuple[float, float]]:
    """Ratios from 1.2 to 3 and full scales from 0.2 to 1 of the largest magnitude, spread evenly (the R₂ sequence)."""
    spread = np.arange(1, n + 1)[:, None] * [0.7548776662466927, 0.5698402909980532] % 1
    return [(1.2 + 1.8 * float(a), 0.2 + 0.8 * float(b)) for a, b in spread]


def _check_bits(bits: int, most: int = 16) -> int:
    if check_count("bits", bits) > most:
        raise ValueError(f"bits: got {bits}; expected at most {most}.")
    return bits


def _largest(values: Tensor) -> float:
    check_finite({"values": values.detach()})
    largest = float(values.detach().abs().max()) if values.numel() else 0.0
    if largest == 0:
        raise ValueError("values: none, or all are 0; expected at least one that is not, to choose a step.")
    return largest
