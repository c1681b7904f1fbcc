"""Codecs: evenly spaced, tables, logarithmic, coarse and fine, synapse counts, signed pairs, shifts."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ..._util.errors import check_count, check_finite, check_number, plain_fields
from ..wording import number, percent, quantity
from .codec import Codec, LogCodec


@dataclass(frozen=True)
class Uniform(Codec):
    """value = offset + step · code, code in 0 … 2^bits − 1, or −2^(bits−1) … 2^(bits−1) − 1 where signed.

    Attributes:
        bits: 1 to 16. step: between neighbours, > 0, in the values' unit. offset: the value of code 0.

    Raises:
        ValueError: ``bits`` outside 1 to 16, or ``step`` not above 0.

    Example:
        >>> codec, x = nr.chip.encodings.Uniform(bits=4, step=0.25), torch.tensor([0.6, -2.0])
        >>> codec.encode(x).tolist(), codec.quantize(x).tolist()
        ([2, -8], [0.5, -2.0])
    """

    bits: int
    step: float
    signed: bool = True
    offset: float = 0.0

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_bits(self.bits)
        check_number("step", self.step, strict=True)
        check_number("offset", self.offset, low=-float("inf"), strict=True)

    @classmethod
    def example(cls, draw: Random) -> Self:
        return cls(draw.randint(1, 10), _step(draw), draw.random() < 0.5, draw.uniform(-1e3, 1e3))

    @classmethod
    def holding(cls, values: Tensor, bits: int, *, signed: bool = True) -> Uniform:
        """The one whose last code means the largest magnitude."""
        if signed:
            bits = check_count("bits", bits, 2)
        return cls(bits, _largest(values) / (2 ** (_check_bits(bits) - signed) - 1), signed)

    @property
    def first(self) -> int:
        return -(2 ** (self.bits - 1)) if self.signed else 0

    def held(self) -> np.ndarray:
        return self.offset + self.step * (np.arange(2.0**self.bits) + self.first)

    def in_words(self, unit: str = "") -> str:
        kind = "signed" if self.signed else "unsigned"
        return f"{self.bits} bits, {kind}, steps of {quantity(self.step, unit)}"


@dataclass(frozen=True)
class LevelTable(Codec):
    """value = levels[code]: levels in any order, so a converter need not be monotone.

    Attributes:
        levels: at least one, finite, in the values' unit.

    Raises:
        ValueError: no level, or one that is not finite.

    Example:
        >>> codec = nr.chip.encodings.LevelTable((0.25, 0.5, 1.0))
        >>> codec.quantize(torch.tensor([0.3, 0.9])).tolist()
        [0.25, 1.0]
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        plain_fields(self)
        if not self.levels:
            raise ValueError("levels: got none; expected at least one value.")
        check_finite({"levels": torch.tensor(self.levels, dtype=torch.float64)})

    @classmethod
    def example(cls, draw: Random) -> Self:
        return cls(tuple(draw.uniform(-1e6, 1e6) for _ in range(draw.randint(1, 40))))

    def held(self) -> np.ndarray:
        return np.array(self.levels, dtype=np.float64)

    def in_words(self, unit: str = "") -> str:
        return f"{len(self.levels)} levels: {', '.join(map(number, self.levels))}"


@dataclass(frozen=True)
class LogUniform(LogCodec):
    """value = low · (high/low)^(code/(n − 1)): n values whose ratio is as near to 1 + relative_step as fits the range.

    A model of a converter with known range and relative step.

    Attributes:
        low, high: the ends, > 0. relative_step: 0.0063 for 0.63 %.

    Raises:
        ValueError: not 0 < low < high, or a relative step below 1e-6.

    Example:
        >>> codec = nr.chip.encodings.LogUniform(1.0, 1000.0, relative_step=9.0)
        >>> codec.held().round(6).tolist()
        [1.0, 10.0, 100.0, 1000.0]
    """

    low: float
    high: float
    relative_step: float

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("low", self.low, strict=True)
        check_number("high", self.high, low=self.low, strict=True)
        if check_number("relative_step", self.relative_step) < 1e-6:
            raise ValueError(f"relative_step: got {self.relative_step!r}; expected at least 1e-6.")

    @classmethod
    def example(cls, draw: Random) -> Self:
        low = _step(draw)
        return cls(low, low * 10 ** draw.uniform(0.01, 9), 10 ** draw.uniform(-2, 0.5))

    def held(self) -> np.ndarray:
        steps = round(np.log(self.high / self.low) / np.log1p(self.relative_step))
        return np.geomspace(self.low, self.high, max(steps, 1) + 1)

    def in_words(self, unit: str = "") -> str:
        return f"steps of {percent(self.relative_step)} from {quantity(self.low, unit)} to {quantity(self.high, unit)}"


@dataclass(frozen=True)
class CoarseFine(Codec):
    """value = largest[coarse] · fine/(n − 1), code = n · coarse + fine: ranges that overlap, so not monotone.

    Attributes:
        largest: the full scale of each coarse range, > 0, in the values' unit. n: how many fine steps a range has.

    Raises:
        ValueError: no range, one that is not above 0, or fewer than two fine steps.

    Example:
        >>> codec = nr.chip.encodings.CoarseFine((3.0, 30.0), n=4)
        >>> codec.held().tolist(), codec.encode(torch.tensor([11.0])).tolist()  # the second range, fine code 1
        ([0.0, 1.0, 2.0, 3.0, 0.0, 10.0, 20.0, 30.0], [5])
    """

    largest: tuple[float, ...]
    n: int = 256

    def __post_init__(self) -> None:
        plain_fields(self)
        check_count("n", self.n, 2)
        if not self.largest:
            raise ValueError("largest: got none; expected the full scale of at least one coarse range.")
        for value in self.largest:
            check_number("largest", value, strict=True)

    @classmethod
    def example(cls, draw: Random) -> Self:
        return cls(tuple(_step(draw) for _ in range(draw.randint(1, 6))), draw.randint(2, 64))

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

    Raises:
        ValueError: a strength that is not above 0, or ``largest`` below 1.

    Example:
        >>> codec = nr.chip.encodings.Multiplicity(excitatory=0.1, inhibitory=0.2, largest=4)
        >>> codec.encode(torch.tensor([0.32, -0.4])).tolist()
        [3, -2]
    """

    excitatory: float
    inhibitory: float
    largest: int

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("excitatory", self.excitatory, strict=True)
        check_number("inhibitory", self.inhibitory, strict=True)
        check_count("largest", self.largest)

    @classmethod
    def example(cls, draw: Random) -> Self:
        return cls(_step(draw), _step(draw), draw.randint(1, 64))

    @property
    def first(self) -> int:
        return -self.largest

    def held(self) -> np.ndarray:
        codes = np.arange(-self.largest, self.largest + 1)
        return codes * np.where(codes > 0, self.excitatory, self.inhibitory)

    def entries(self, codes: Tensor) -> Tensor:
        """The number of synapses of each code, for the neuron's fan-in."""
        return codes.abs()


@dataclass(frozen=True)
class SignedPair(Codec):
    """value = step · (e − i): a signed weight as an excitatory and an inhibitory row of unsigned codes, one of them 0.

    Attributes:
        bits: of each row, 1 to 15; codes are ± (2^bits − 1). step: > 0, in the values' unit.

    Raises:
        ValueError: ``bits`` outside 1 to 15, or ``step`` not above 0.

    Example:
        >>> codec = nr.chip.encodings.SignedPair(bits=6, step=0.1)
        >>> code = codec.encode(torch.tensor([0.5, -1.2]))
        >>> code.tolist(), codec.rows(code)
        ([5, -12], (tensor([5, 0]), tensor([ 0, 12])))
    """

    bits: int
    step: float

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_bits(self.bits, 15)
        check_number("step", self.step, strict=True)

    @classmethod
    def example(cls, draw: Random) -> Self:
        return cls(draw.randint(1, 8), _step(draw))

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

    def in_words(self, unit: str = "") -> str:
        return f"a sign and {self.bits} bits, steps of {quantity(self.step, unit)}"


@dataclass(frozen=True)
class BitShift(LogCodec):
    """value = −dt / ln(1 − 2^−code): time constants of a decay computed as v − v/2^code in every step of dt.

    With it exp(−dt/value) is that decay exactly. The usual dt · 2^code is its limit for large codes: 39 % too long at
    code 1, 0.2 % at 8.

    Attributes:
        dt: s. largest, smallest: codes, 1 ≤ smallest < largest ≤ 50.

    Raises:
        ValueError: ``dt`` is not above 0, or not 1 ≤ smallest < largest ≤ 50.

    Example:
        >>> codec = nr.chip.encodings.BitShift(dt=1e-3, largest=8)
        >>> [round(x, 5) for x in codec.held()[:4].tolist()]
        [0.00144, 0.00348, 0.00749, 0.01549]
    """

    dt: float
    largest: int
    smallest: int = 1

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("dt", self.dt, strict=True)
        check_count("smallest", self.smallest)
        check_count("largest", self.largest, self.smallest + 1)
        if self.largest > 50:
            raise ValueError(f"largest: got {self.largest}; expected at most 50.")

    @classmethod
    def example(cls, draw: Random) -> Self:
        smallest = draw.randint(1, 12)
        return cls(10 ** draw.uniform(-5, -2), smallest + draw.randint(1, 10), smallest)

    @property
    def first(self) -> int:
        return self.smallest

    def held(self) -> np.ndarray:
        return -self.dt / np.log1p(-(2.0 ** -np.arange(self.smallest, self.largest + 1)))

    def in_words(self, unit: str = "") -> str:
        return (
            f"a decay by v/2^code in every step of {quantity(self.dt, 's')}, code {self.smallest} to {self.largest}: "
            f"τ = −dt / ln(1 − 2^−code)"
        )


def _step(draw: Random) -> float:
    """A step for an example, of any order of size."""
    return 10 ** draw.uniform(-12, 3)


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
