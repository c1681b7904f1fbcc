"""Encodings: how a core holds all values of one kind, at which gain into the chip's own units and with which codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..._util.errors import check_count, check_number
from ..sourced import Range, SourcedValue
from ..wording import quantity, short
from .codec import Codec
from .levels import Multiplicity, Uniform
from .masks import MaskCodebook, fit_masks


@dataclass(frozen=True, eq=False)
class EncodedCore:
    """One kind as one core holds it.

    Attributes:
        gain: chip units per network unit. codec: on values times ``scale``; None does not quantize.
    """

    gain: float
    codec: Codec | None = None
    scale: float = 1.0

    def encode(self, values: Tensor, where: str) -> Tensor:
        """The codes of values in network units, which ``where`` names in errors."""
        assert self.codec is not None
        return self.codec.encode(values.double() * self.scale, where)

    def decode(self, codes: Tensor) -> Tensor:
        """The values in network units, float64, that codes mean."""
        assert self.codec is not None
        return self.codec.decode(codes) / self.scale


class Encoding(ABC):
    """A rule that chooses the gain and the codec of a core from all its values of one kind.

    Attributes:
        unit: the chip's own, for the report.
    """

    unit: str = "SI"

    @abstractmethod
    def encode_core(self, where: str, values: Tensor, neuron: Tensor, speed: float) -> EncodedCore:
        """The gain and the codec of one core.

        Args:
            where: for errors. values: all values of the kind on the core, (n,), network units.
            neuron: that each of them belongs to, (n,).
            speed: chip seconds per network second where the kind is a time, else 1.
        """

    def check_core(self, where: str, held: EncodedCore, speed: float) -> None:
        """Raise ValueError for a core that :meth:`encode_core` never returns: one that was read from a file. Without an
        own method, an encoding accepts its ``codec``, if it has one, at every gain and scale.

        Args:
            where: for errors. held: gain, scale and codec. speed: as in :meth:`encode_core`.
        """
        _check_same(where, held, EncodedCore(held.gain, getattr(self, "codec", held.codec), held.scale))

    def choices(self, held: EncodedCore) -> dict[str, list[float]]:
        """Other values that a core holds, by name, for its row of the programming report."""
        return {}

    def host_gain(self, values: Tensor, speed: float) -> float:
        """The gain for values on the host, where nothing is encoded; their spread depends on it."""
        return speed

    def in_words(self, unit: str = "") -> str:
        """The encoding in one line; one without words of its own shows its representation."""
        return short(self)


@dataclass(frozen=True)
class Unquantized(Encoding):
    """Unchanged values, in SI units.

    Example:
        >>> nr.chip.Unquantized().in_words()
        'as it is, not rounded'
    """

    def encode_core(self, where: str, values: Tensor, neuron: Tensor, speed: float) -> EncodedCore:
        return EncodedCore(speed)

    def check_core(self, where: str, held: EncodedCore, speed: float) -> None:
        _check_same(where, held, EncodedCore(speed))

    def in_words(self, unit: str = "") -> str:
        return "as it is, not rounded"


@dataclass(frozen=True)
class Scaled(Encoding):
    """The largest magnitude on each core is placed at ``full``, which chooses the gain, and goes through a codec.

    If all values are 0, one network unit is placed there.

    Attributes:
        full: in ``unit``. codec: acts on values in ``unit``; None does not quantize.

    Raises:
        ValueError: ``full`` is not above 0.

    Example:
        >>> full = nr.chip.SourcedValue(127, "coded", "8 bits")
        >>> encoding = nr.chip.Scaled(full, unit="LSB", codec=nr.chip.encodings.Uniform(bits=8, step=1.0))
        >>> encoding.in_words()
        'the largest of each core at 127 LSB; 8 bits, signed, steps of 1 LSB'
    """

    full: SourcedValue
    unit: str
    codec: Codec | None = None

    def __post_init__(self) -> None:
        check_number("full", self.full.value, strict=True)

    def encode_core(self, where: str, values: Tensor, neuron: Tensor, speed: float) -> EncodedCore:
        gain = _assumed(self.full.value, values)
        return EncodedCore(gain, self.codec, gain)

    def check_core(self, where: str, held: EncodedCore, speed: float) -> None:
        _check_same(where, held, EncodedCore(held.gain, self.codec, held.gain))

    def host_gain(self, values: Tensor, speed: float) -> float:
        return _assumed(self.full.value, values)

    def in_words(self, unit: str = "") -> str:
        codec = "not rounded" if self.codec is None else self.codec.in_words(self.unit)
        return f"the largest of each core at {quantity(self.full.value, self.unit)}; {codec}"


@dataclass(frozen=True)
class Fixed(Encoding):
    """Values in SI units through a codec that is the same everywhere; a time in the chip's own seconds.

    Example:
        >>> encoding = nr.chip.Fixed(nr.chip.encodings.BitShift(dt=1e-3, largest=15))
        >>> encoding.in_words()
        'a decay by v/2^code in every step of 1 ms, code 1 to 15: τ = −dt / ln(1 − 2^−code)'
    """

    codec: Codec

    def encode_core(self, where: str, values: Tensor, neuron: Tensor, speed: float) -> EncodedCore:
        return EncodedCore(speed, self.codec, speed)

    def check_core(self, where: str, held: EncodedCore, speed: float) -> None:
        _check_same(where, held, EncodedCore(speed, self.codec, speed))

    def in_words(self, unit: str = "") -> str:
        return self.codec.in_words(unit)


@dataclass(frozen=True)
class BitMaskedCurrents(Encoding):
    """Weights as masks over a few currents, fitted to the weights of each core and shared by all its synapses.

    Attributes:
        bits: number of currents. largest: the current, A, at which the largest of them is placed; this chooses the
            gain. range: currents the bias generator reaches, A.

    Example:
        >>> import chipmodels
        >>> encoding = chipmodels.load("dynapse2").kinds["weight"].encoding
        >>> encoding.bits, encoding.largest.value, encoding.unit  # four currents, the largest 8 nA
        (4, 8e-09, 'A')
    """

    bits: int
    largest: SourcedValue
    range: Range
    unit: str = "A"

    def encode_core(self, where: str, values: Tensor, neuron: Tensor, speed: float) -> EncodedCore:
        if not values.any():
            raise ValueError(f"{where}: there is none, or all are 0; a core without a synapse has no codebook.")
        book = fit_masks(values, self.bits)
        gain = self.largest.value / max(book.currents)
        self._check_reach(where, [current * gain for current in book.currents])
        return EncodedCore(gain, book)

    def choices(self, held: EncodedCore) -> dict[str, list[float]]:
        assert isinstance(held.codec, MaskCodebook)
        return {"currents_A": [current * held.gain for current in held.codec.currents]}

    def check_core(self, where: str, held: EncodedCore, speed: float) -> None:
        if not isinstance(held.codec, MaskCodebook) or len(held.codec.currents) != self.bits:
            raise ValueError(f"{where}: got the codec {held.codec}; expected a MaskCodebook of {self.bits} currents.")
        for current in held.codec.currents:
            check_number(f"{where}: current", current, strict=True)
        if list(held.codec.currents) != sorted(held.codec.currents):
            raise ValueError(f"{where}: got the currents {held.codec.currents}; expected them in ascending order.")
        _check_same(where, held, EncodedCore(held.gain, held.codec))
        self._check_reach(where, [current * held.gain for current in held.codec.currents])

    def _check_reach(self, where: str, currents: Sequence[float]) -> None:
        for current in currents:
            if not self.range.low <= current <= self.range.high:
                raise ValueError(
                    f"{where}: need a current of {current:.3g} A; the chip reaches {self.range.low:g} to "
                    f"{self.range.high:g} A ({self.range.source})."
                )

    def host_gain(self, values: Tensor, speed: float) -> float:
        return _assumed(self.largest.value * (2 - 2.0 ** (1 - self.bits)), values)  # all currents, as binary weights

    def in_words(self, unit: str = "") -> str:
        return (
            f"a sum of any of {self.bits} currents that the synapses of a core share, the largest current at "
            f"{quantity(self.largest.value, self.unit)}"
        )


@dataclass(frozen=True)
class SynapseCounts(Encoding):
    """Weights as numbers of equal synapses, one strength for excitation and one for inhibition per core.

    Of all strengths with which no neuron needs more than ``budget`` synapses those are taken that lose least.

    Attributes:
        budget: synapses per neuron.

    Example:
        >>> import chipmodels
        >>> chipmodels.load("dynapse1").kinds["weight"].encoding.budget
        64
    """

    budget: int
    unit: str = "synapses"

    def encode_core(self, where: str, values: Tensor, neuron: Tensor, speed: float) -> EncodedCore:
        exact = values.detach().double()
        ends = [float(part.max()) if (part := sign * exact)[part > 0].numel() else 0.0 for sign in (1.0, -1.0)]
        if not any(ends):
            raise ValueError(
                f"{where}: there is none, or all are 0; expected a weight that is not, to choose a strength."
            )
        best: tuple[float, Multiplicity] | None = None
        for n in range(1, self.budget + 1):
            codec = Multiplicity((ends[0] or ends[1]) / n, (ends[1] or ends[0]) / n, n)
            needed = torch.zeros(int(neuron.max()) + 1, dtype=torch.long)
            codes = codec.nearest(exact)
            needed.index_add_(0, neuron, codec.entries(codes))
            lost = float((codec.decode(codes) - exact).square().sum())
            if int(needed.max()) <= self.budget and (best is None or lost < best[0]):
                best = lost, codec
            if n == 1 and best is None:
                raise ValueError(
                    f"{where}: one synapse for each large weight already takes {int(needed.max())} of the "
                    f"{self.budget} that neuron {int(needed.argmax())} has; prune its inputs."
                )
        assert best is not None
        codec = best[1]
        return EncodedCore(1 / codec.excitatory, codec)

    def choices(self, held: EncodedCore) -> dict[str, list[float]]:
        assert isinstance(held.codec, Multiplicity)
        return {"strengths": [held.codec.excitatory, held.codec.inhibitory]}

    def check_core(self, where: str, held: EncodedCore, speed: float) -> None:
        if not isinstance(held.codec, Multiplicity) or held.codec.largest > self.budget:
            raise ValueError(f"{where}: got the codec {held.codec}; expected a Multiplicity up to {self.budget}.")
        _check_same(where, held, EncodedCore(1 / held.codec.excitatory, held.codec))

    def in_words(self, unit: str = "") -> str:
        return f"a number of equal synapses, together at most {self.budget} for each neuron"


@dataclass(frozen=True)
class SharedGain(Encoding):
    """Unquantized values, at the gain of another kind of the same layer: voltages share one scale.

    Attributes:
        kind: the other one; it has to come before this one in the chip's kinds.

    Example:
        >>> nr.chip.SharedGain("v_threshold").in_words()
        'not rounded, on the scale of v_threshold'
    """

    kind: str
    unit: str = "SI"

    def encode_core(self, where: str, values: Tensor, neuron: Tensor, speed: float) -> EncodedCore:
        raise TypeError(f"{where}: takes the gain of {self.kind}; it is not encoded separately.")

    def in_words(self, unit: str = "") -> str:
        return f"not rounded, on the scale of {self.kind}"


def with_bits(chip: str, encoding: Encoding, bits: int) -> Encoding:
    """The encoding of weights with this number of bits; ``chip`` is the name of the chip, for errors."""
    bits = check_count("bits", bits, 2)
    if bits > 16:
        raise ValueError(f"bits: got {bits}; expected 2 to 16.")
    last = 2 ** (bits - 1) - 1
    if isinstance(encoding, BitMaskedCurrents):
        return replace(encoding, bits=bits)
    if isinstance(encoding, Scaled):
        return replace(encoding, codec=Uniform(bits, encoding.full.value / last))
    if encoding == UNQUANTIZED:
        return Scaled(SourcedValue(last, "assumed", "the bits asked for"), "LSB", Uniform(bits, 1.0))
    raise ValueError(f"{chip}: holds weights as {type(encoding).__name__}, which has no bits to choose.")


def _check_same(where: str, held: EncodedCore, expected: EncodedCore) -> None:
    for name in ("gain", "scale", "codec"):
        got, wanted = getattr(held, name), getattr(expected, name)
        if type(got) is not type(wanted) or got != wanted:
            raise ValueError(f"{where}: got the {name} {got}; expected {wanted}.")


def _assumed(full: float, values: Tensor) -> float:
    return full / ((float(values.abs().max()) if values.numel() else 0.0) or 1.0)


UNQUANTIZED = Unquantized()
