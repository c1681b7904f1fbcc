"""Mismatch of a circuit: a lognormal deviation of every bias current."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from .._util.errors import check_count, check_number, unknown
from ..chip.streams import key_of, per_neuron, per_synapse
from .description import Circuit, Dendrite, DendriteType, Neurons

NEURON_CURRENTS = tuple(field.name for field in fields(Neurons) if field.name.startswith("i_"))
DENDRITE_CURRENTS = tuple(field.name for field in fields(Dendrite))
CURRENTS = (
    *NEURON_CURRENTS,
    *(f"{kind.name}.{name}" for kind in DendriteType for name in DENDRITE_CURRENTS),
    "weight",
)
"""The names of all currents that deviate: ``i_tau_mem`` … of the neurons, ``AMPA.i_tau`` …, and ``weight``."""


def deviating(circuit: Circuit, *, seed: int, serial: int, cv: float | Mapping[str, float] = 0.1) -> Circuit:
    """The circuit of one die: every bias current times exp(s u), with s² = ln(1 + cv²) and a standard normal u.

    The median of a current is its nominal value. Each u depends on (seed, serial), the name of the current, and its
    site only: core and number of the neuron, and the slot of a synapse. So a die is the same for every network and
    every order of neurons. All u are independent, also of those of :class:`neurorobust.chip.Die`; C, κ, U_T and I_0 do
    not deviate. The default is that of rockpool's ``transform/mismatch.py``, 10 % for every current, which is not
    published.

    Args:
        circuit: the nominal one. seed, serial: of the die.
        cv: coefficient of variation, for all currents or by name; see :data:`CURRENTS`. A current without a name does
            not deviate.

    Raises:
        ValueError: ``seed`` or ``serial`` is negative or too large, or ``cv`` names no current.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> held = chipmodels.load("dynapse2").program(nr.nominal(network), network.placement())
        >>> circuit = nr.circuit.circuit_of(network, held)
        >>> die = nr.circuit.deviating(circuit, seed=0, serial=17, cv=0.1)
        >>> (die.neurons.i_thr / circuit.neurons.i_thr)[:3].round(2).tolist()
        [0.8, 1.11, 1.12]
    """
    seed, serial = check_count("seed", seed, 0), check_count("serial", serial, 0)
    for name, number in (("seed", seed), ("serial", serial)):
        if number >= 2**64:
            raise ValueError(f"{name}: got {number}; expected a number below 2**64.")
    spreads = spreads_of(cv)
    key = key_of(seed, serial)
    core, number_on_core = circuit.neurons.core, circuit.neurons.number

    def moved(name: str, values: np.ndarray) -> np.ndarray:
        if not spreads.get(name):
            return values
        u = per_neuron(key, f"circuit.{name}", core, number_on_core)
        return np.asarray(values * np.exp(spreads[name] * u))

    neurons: dict[str, Any] = {name: moved(name, getattr(circuit.neurons, name)) for name in NEURON_CURRENTS}
    dendrites = {
        kind: Dendrite(**{name: moved(f"{kind.name}.{name}", getattr(dendrite, name)) for name in DENDRITE_CURRENTS})
        for kind, dendrite in circuit.dendrites.items()
    }
    synapses = circuit.synapses
    if spreads.get("weight"):
        synapses = replace(synapses, weight=synapses.weight * np.exp(spreads["weight"] * _of_synapses(circuit, key)))
    return replace(circuit, neurons=replace(circuit.neurons, **neurons), dendrites=dendrites, synapses=synapses)


def spreads_of(cv: float | Mapping[str, float]) -> dict[str, float]:
    """s of every current that deviates, by name.

    Raises:
        ValueError, TypeError: an unknown current, or a coefficient that is no number ≥ 0.
    """
    given = cv if isinstance(cv, Mapping) else dict.fromkeys(CURRENTS, cv)
    for name in given:
        if name not in CURRENTS:
            raise unknown("cv: current", name, CURRENTS)
    return {
        name: math.sqrt(math.log1p(check_number(f"cv of {name}" if given is cv else "cv", value) ** 2))
        for name, value in given.items()
    }


def _of_synapses(circuit: Circuit, key: np.ndarray) -> np.ndarray:
    """One normal for every synapse, (m,), from core, number and slot."""
    c, s = circuit.neurons, circuit.synapses
    site = c.core[s.target], c.number[s.target] - 1  # per_synapse counts neurons from 1
    return per_synapse(key, "circuit.weight", site, s.slot[:, None])[:, 0]
