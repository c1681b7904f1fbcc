"""A circuit in physical numbers: bias currents, synapses and constants, in A, s and F."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._util.errors import check_count, unknown
from .technology import Technology

Values = Any
"""An array or one number as it is given; always a read-only array once the object exists."""
Integers = NDArray[np.int64]


class DendriteType(IntEnum):
    """The four synaptic filters of a neuron of DYNAP-SE2.

    AMPA and NMDA add to the input current, GABA is subtracted from it. SHUNT acts as the adaptation does: it is
    subtracted past the clip of the input and makes the leak larger. The circuit of NMDA can be gated by the membrane;
    here it is not. On DYNAP-SE1 the fast and the slow excitation are AMPA and NMDA, GABA_B is GABA, GABA_A is SHUNT.

    Example:
        >>> [kind.name for kind in nr.circuit.DendriteType]
        ['AMPA', 'NMDA', 'GABA', 'SHUNT']
    """

    AMPA = 0
    NMDA = 1
    GABA = 2
    SHUNT = 3


AHP_OFF = {"i_tau_ahp": 28.4e-12, "i_gain_ahp": 28.4e-12, "i_w_ahp": 0.0, "i_pulse_ahp": 350e-9}
"""Currents of the adaptation of a neuron that has none, A."""


def _array(name: str, value: ArrayLike, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """A read-only copy of a value in a shape; its dtype is of a kind of NumPy's, "f", "i" or "b".

    Raises:
        TypeError: another kind; integers pass as floats. ValueError: another shape.
    """
    words = {"f": ("numbers", np.float64), "i": ("integers", np.int64), "b": ("True or False", np.bool_)}
    what, dtype = words[kind]
    given = np.asarray(value)
    if given.dtype.kind not in {"f": "fiu", "i": "iu", "b": "b"}[kind]:
        raise TypeError(f"{name}: got an array of {given.dtype}; expected {what}.")
    if given.shape not in (shape, ()):
        raise ValueError(f"{name}: got shape {given.shape}; expected {shape}, or one number for all.")
    copy: np.ndarray = np.array(np.broadcast_to(given, shape), dtype=dtype)
    copy.flags.writeable = False
    return copy


def _check_range(name: str, values: np.ndarray, low: float, *, strict: bool) -> None:
    bad = ~np.isfinite(values) | (values <= low if strict else values < low)
    if bad.any():
        first = int(np.argmax(bad))
        bound = f"{'>' if strict else '≥'} {low:g}"
        raise ValueError(f"{name}: value {values[first]!r} at position {first}; expected finite values {bound}.")


def _check_index(name: str, values: np.ndarray, n: int, what: str) -> None:
    bad = (values < 0) | (values >= n)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(f"{name}: {values[first]} at position {first}; expected a {what} from 0 to {n - 1}.")


def _positive(owner: Any, n: int, *names: str) -> None:
    for name in names:
        values = _array(name, getattr(owner, name), (n,), "f")
        _check_range(name, values, 0.0, strict=True)
        object.__setattr__(owner, name, values)


def _not_negative(owner: Any, n: int, *names: str) -> None:
    for name in names:
        values = _array(name, getattr(owner, name), (n,), "f")
        _check_range(name, values, 0.0, strict=False)
        object.__setattr__(owner, name, values)


@dataclass(frozen=True, eq=False, kw_only=True)
class Neurons:
    """Bias currents of n neurons, A. Each is an array (n,), or one number for all.

    Attributes:
        n: number of neurons.
        i_tau_mem: leak of the membrane: τ_mem = C_mem U_T/(κ i_tau_mem).
        i_gain_mem: gain of the membrane's DPI. i_thr: membrane current at which the neuron spikes.
        i_ref: sets the refractory time, C_ref V_ref/i_ref. i_dc: direct current into the input, ≥ 0.
        feedback: True for the exponential type, whose positive feedback is on; False for the threshold type.
        i_tau_ahp, i_gain_ahp: the adaptation's filter: τ_ahp = C_ahp U_T/(κ i_tau_ahp).
        i_w_ahp: current of the adaptation's pulse, ≥ 0; 0 is no adaptation.
        i_pulse_ahp: sets the length of that pulse, C_pulse V_ref/i_pulse_ahp.
        core, number: physical core of each neuron and its number there: the site whose deviations it has. By default
            all are on core 0, in order.

    Raises:
        ValueError: an array that is not (n,), or a current out of its range; the message names it and the neuron.

    Example:
        >>> from neurorobust.circuit import Neurons
        >>> cells = Neurons(n=2, i_tau_mem=5e-12, i_gain_mem=2e-11, i_thr=1e-9, i_ref=1e-9, i_dc=[0.0, 4e-10])
        >>> cells.n, cells.i_tau_mem
        (2, array([5.e-12, 5.e-12]))
    """

    n: int
    i_tau_mem: Values
    i_gain_mem: Values
    i_thr: Values
    i_ref: Values
    i_dc: Values = 0.0
    feedback: Values = False
    i_tau_ahp: Values = AHP_OFF["i_tau_ahp"]
    i_gain_ahp: Values = AHP_OFF["i_gain_ahp"]
    i_w_ahp: Values = AHP_OFF["i_w_ahp"]
    i_pulse_ahp: Values = AHP_OFF["i_pulse_ahp"]
    core: Values = 0
    number: Values = None

    def __post_init__(self) -> None:
        n = check_count("n", self.n)
        object.__setattr__(self, "n", n)
        _positive(self, n, "i_tau_mem", "i_gain_mem", "i_thr", "i_ref", "i_tau_ahp", "i_gain_ahp", "i_pulse_ahp")
        _not_negative(self, n, "i_dc", "i_w_ahp")
        number = np.arange(n) if self.number is None else self.number
        object.__setattr__(self, "feedback", _array("feedback", self.feedback, (n,), "b"))
        for name, value in (("core", self.core), ("number", number)):
            values = _array(name, value, (n,), "i")
            _check_range(name, values, 0.0, strict=False)
            object.__setattr__(self, name, values)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dendrite:
    """Bias currents of one synaptic filter of every neuron, A. Each is an array (n,), or one number for all.

    An event through a weight current I_w makes the filter's current jump by (1 − e^(−t_pulse/τ)) I_w i_gain/i_tau,
    with τ = C_syn U_T/(κ i_tau) and t_pulse = C_pulse V_ref/i_pulse; between events it decays with τ. This is the
    filter for currents far above its i_gain (Chicca et al., Proceedings of the IEEE 102, 2014), and a pulse short
    compared with τ.

    Attributes:
        i_tau: of the time constant. i_gain: of the gain. i_pulse: of the length of the pulse.

    Example:
        >>> from neurorobust.circuit import Dendrite, Technology
        >>> filter, technology = Dendrite(i_tau=5e-12, i_gain=1e-10), Technology()
        >>> round(1e3 * technology.tau(technology.c_syn, 5e-12), 1)  # ms: a filter with 5 pA
        173.8
    """

    i_tau: Values
    i_gain: Values
    i_pulse: Values = 35e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class Synapses:
    """m synapses. Each attribute is an array (m,); dendrite, delay and slot may be one number for all.

    Attributes:
        source: a channel 0 … n_channels − 1, or n_channels + i for neuron i. target: neuron.
        dendrite: a :class:`DendriteType`. weight: current I_w, A, ≥ 0. delay: from the event to its arrival, s, ≥ 0.
        slot: place among the synapses of its target: the site whose deviation the weight has. By default they are
            counted in the order given.

    Raises:
        ValueError: arrays of different lengths, or a negative weight or delay. TypeError: sources, targets or dendrites
            that are no integers.

    Example:
        >>> from neurorobust.circuit import DendriteType, Synapses
        >>> synapses = Synapses(source=[0, 0], target=[0, 1], dendrite=DendriteType.AMPA, weight=[1e-9, 2e-9])
        >>> synapses.delay
        array([0., 0.])
    """

    source: Values
    target: Values
    dendrite: Values
    weight: Values
    delay: Values = 0.0
    slot: Values = None

    def __post_init__(self) -> None:
        source = np.asarray(self.source)
        if source.ndim != 1:
            raise ValueError(f"source: got shape {source.shape}; expected one number for each synapse, (m,).")
        shape = source.shape
        for name, kind in (("source", "i"), ("target", "i"), ("dendrite", "i"), ("weight", "f"), ("delay", "f")):
            object.__setattr__(self, name, _array(name, getattr(self, name), shape, kind))
        slot = counted(np.asarray(self.target)) if self.slot is None else self.slot
        object.__setattr__(self, "slot", _array("slot", slot, shape, "i"))
        _check_index("dendrite", self.dendrite, len(DendriteType), "DendriteType")
        for name in ("weight", "delay", "slot"):
            _check_range(name, getattr(self, name), 0.0, strict=False)


def counted(target: Integers) -> Integers:
    """The place of every synapse among those of its target, in the order given."""
    order = np.argsort(target, kind="stable")
    counts = np.unique(target, return_counts=True)[1]
    place = np.empty(len(target), dtype=np.int64)
    place[order] = np.arange(len(target)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place


@dataclass(frozen=True, eq=False, kw_only=True)
class Circuit:
    """Neurons, their synaptic filters and their synapses, in physical numbers.

    It holds what a chip's configuration and a die say, and nothing of a network. See :func:`simulate`.

    Attributes:
        neurons: n of them. dendrites: the filters that synapses use, by type; each has arrays (n,) afterwards.
        synapses: between channels or neurons and neurons. n_channels: number of external channels.
        technology: the constants of the chip.

    Raises:
        ValueError: a synapse from or to a place that does not exist, a type of dendrite that synapses use and
            ``dendrites`` lacks, or a threshold that is not above the leakage current I_0.

    Example:
        >>> from neurorobust.circuit import Circuit, Dendrite, DendriteType, Neurons, Synapses
        >>> cells = Neurons(n=1, i_tau_mem=5e-12, i_gain_mem=2e-11, i_thr=1e-9, i_ref=1e-9)
        >>> filters = {DendriteType.AMPA: Dendrite(i_tau=5e-12, i_gain=1e-10)}
        >>> synapses = Synapses(source=[0], target=[0], dendrite=[DendriteType.AMPA], weight=[4e-9])
        >>> circuit = Circuit(neurons=cells, dendrites=filters, synapses=synapses, n_channels=1)
        >>> circuit.dendrites[DendriteType.AMPA].i_tau.shape  # one value became one for each neuron
        (1,)
    """

    neurons: Neurons
    dendrites: Mapping[DendriteType, Dendrite]
    synapses: Synapses
    n_channels: int
    technology: Technology = field(default_factory=Technology)

    def __post_init__(self) -> None:
        n, channels = self.neurons.n, check_count("n_channels", self.n_channels, 0)
        object.__setattr__(self, "n_channels", channels)
        _check_index("synapses.target", self.synapses.target, n, "neuron")
        _check_index("synapses.source", self.synapses.source, channels + n, "channel or neuron")
        object.__setattr__(self, "dendrites", self._checked_dendrites())
        used = np.unique(self.synapses.dendrite).tolist()
        missing = [DendriteType(which).name for which in used if which not in self.dendrites]
        if missing:
            raise ValueError(f"dendrites: {missing[0]} is missing, but synapses end there; add its Dendrite.")
        low = self.neurons.i_thr <= self.technology.i_0
        if low.any():
            raise ValueError(
                f"neurons.i_thr: {self.neurons.i_thr[low][0]:g} A of neuron {int(np.argmax(low))} is not "
                f"above the leakage current I_0, {self.technology.i_0:g} A; the neuron would never be below threshold."
            )

    def _checked_dendrites(self) -> Mapping[DendriteType, Dendrite]:
        result = {}
        for kind, dendrite in self.dendrites.items():
            if not isinstance(kind, DendriteType):
                raise unknown("dendrites", kind, (each.name for each in DendriteType))
            result[kind] = Dendrite(**{part.name: getattr(dendrite, part.name) for part in fields(Dendrite)})
            try:
                _positive(result[kind], self.neurons.n, "i_tau", "i_gain", "i_pulse")
            except (TypeError, ValueError) as error:
                error.args = (f"dendrites[{kind.name}].{error}",)
                raise
        return MappingProxyType(result)
