"""The circuit of an image: bias currents of every neuron, synapses and sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import wrightomega

from ...circuit import Circuit, Dendrite, DendriteType, Neurons, Synapses, Technology
from ...circuit.description import AHP_OFF
from .checking import Biases
from .layout import Layout
from .parts import ImageNeuron, Synapse, bits

LINEAR = 0.95
"""Part of its jump that an event makes in a silent filter that is called linear."""


def circuit_from(
    layout: Layout,
    neurons: Sequence[ImageNeuron],
    cores: Biases,
    synapses: Sequence[Synapse],
    channels: int,
    *,
    delay: float,
    technology: Technology,
) -> Circuit:
    """The circuit of neurons with the biases of their cores."""

    def current(name: str, on: Sequence[bool] | None = None, off: float = 0.0) -> np.ndarray:
        """The bias of each neuron, and another value where a latch is off."""
        used = [True] * len(neurons) if on is None else on
        return np.array([cores[neuron.core][name] if here else off for neuron, here in zip(neurons, used)])

    adapting = [neuron.latches.adaptation for neuron in neurons]
    source = np.array([synapse.source for synapse in synapses], dtype=np.int64)
    return Circuit(
        neurons=Neurons(
            n=len(neurons),
            i_tau_mem=current("Itau_mem"),
            i_gain_mem=current("Igain_mem"),
            i_thr=current("Ispkthr"),
            i_ref=current("Iref"),
            i_dc=current("Idc", [neuron.latches.direct_current for neuron in neurons]),
            feedback=np.array([neuron.latches.exponential for neuron in neurons]),
            i_tau_ahp=current("Itau_ahp", adapting, AHP_OFF["i_tau_ahp"]),
            i_gain_ahp=current("Igain_ahp", adapting, AHP_OFF["i_gain_ahp"]),
            i_w_ahp=current("Iw_ahp", adapting, AHP_OFF["i_w_ahp"]),
            i_pulse_ahp=current("Ipulse_ahp", adapting, AHP_OFF["i_pulse_ahp"]),
            core=np.array([neuron.core for neuron in neurons]),
            number=np.array([neuron.number for neuron in neurons]),
        ),
        dendrites={kind: _dendrite(kind, neurons, cores) for kind in DendriteType if _there(kind, cores)},
        synapses=Synapses(
            source=source,
            target=np.array([synapse.target for synapse in synapses], dtype=np.int64),
            dendrite=np.array([synapse.dendrite for synapse in synapses], dtype=np.int64),
            weight=_weights(layout, neurons, cores, synapses),
            delay=np.where(source < channels, 0.0, delay),
            slot=np.array([synapse.slot for synapse in synapses], dtype=np.int64),
        ),
        n_channels=channels,
        technology=technology,
    )


def events_over_gain(layout: Layout, cores: Biases, technology: Technology) -> dict[int, dict[str, float]]:
    """Jump of each filter for an event through all its base currents, over its gain current, by core and filter."""
    found: dict[int, dict[str, float]] = {}
    for core, biases in cores.items():
        for kind in DendriteType:
            i_tau, names = biases.get(f"Itau_{kind.name.lower()}"), layout.weight_biases(kind)
            if i_tau is None or not any(name in biases for name in names):
                continue
            tau = technology.tau(technology.c_syn, np.array(i_tau))
            pulse = technology.charge_time(technology.c_pulse, np.array(biases["Ipulse"]))
            weight = sum(biases.get(name, 0.0) for name in names)
            found.setdefault(core, {})[kind.name] = float(-np.expm1(-pulse / tau) * weight / i_tau)
    return found


class FilterLinearity(NamedTuple):
    """How linear a synaptic filter of a chip is for an event through all its base currents.

    With y = I/I_gain and j = (1 − e^(−t_pulse/τ)) I_w/I_τ a short pulse takes y + ln y to y + ln y + j (the DPI of
    Chicca et al. 2014). A linear filter would add j to y.

    Attributes:
        over_gain: j. silent, at_gain: the part of j that is added to a filter at I_0, and to one at I_gain.
    """

    over_gain: float
    silent: float
    at_gain: float

    @property
    def linear(self) -> bool:
        """Whether a silent filter takes 95 % of the jump or more."""
        return self.silent >= LINEAR

    def __str__(self) -> str:
        return (
            f"{'linear' if self.linear else 'not linear'}: an event makes {100 * self.silent:.2g} % of its jump in a "
            f"silent filter, {100 * self.at_gain:.2g} % in one at its gain current"
        )


def linearity(layout: Layout, cores: Biases, technology: Technology) -> dict[int, dict[str, FilterLinearity]]:
    """See :meth:`Image.linearity`."""

    def added(start: float, j: float) -> float:
        return float((wrightomega(start + np.log(start) + j) - start) / j)

    return {
        core: {
            name: FilterLinearity(j, added(technology.i_0 / cores[core][f"Igain_{name.lower()}"], j), added(1.0, j))
            for name, j in filters.items()
        }
        for core, filters in events_over_gain(layout, cores, technology).items()
    }


def _there(kind: DendriteType, cores: Biases) -> bool:
    return any(f"Itau_{kind.name.lower()}" in biases for biases in cores.values())


def _dendrite(kind: DendriteType, neurons: Sequence[ImageNeuron], cores: Biases) -> Dendrite:
    """The biases of a filter. A core that has none of them does not use it and takes those of another core."""
    names = {"i_tau": f"Itau_{kind.name.lower()}", "i_gain": f"Igain_{kind.name.lower()}"}
    some: Mapping[str, float] = next(biases for biases in cores.values() if names["i_tau"] in biases)
    found = {
        attribute: np.array([cores[neuron.core].get(name, some[name]) for neuron in neurons])
        for attribute, name in names.items()
    }
    return Dendrite(**found, i_pulse=np.array([cores[neuron.core]["Ipulse"] for neuron in neurons]))


def _weights(layout: Layout, neurons: Sequence[ImageNeuron], cores: Biases, synapses: Sequence[Synapse]) -> np.ndarray:
    """The current of each synapse: the sum of the base currents that its mask turns on, or that of its entries."""
    known: dict[tuple[int, DendriteType, int], float] = {}
    for synapse in synapses:
        core = neurons[synapse.target].core
        key = core, synapse.dendrite, synapse.weight
        if key not in known:
            names = layout.weight_biases(synapse.dendrite)
            known[key] = (
                sum(cores[core][names[bit]] for bit in bits(synapse.weight))
                if layout.base_currents
                else synapse.weight * cores[core][names[0]]
            )
    return np.array(
        [known[neurons[each.target].core, each.dendrite, each.weight] for each in synapses], dtype=np.float64
    )
