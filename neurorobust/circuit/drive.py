"""The same synapses driven by other pulses and weight currents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .._util.errors import check_number
from .description import Circuit, Dendrite


def with_drive(circuit: Circuit, *, pulse: float | None = None, weight: float = 1.0) -> Circuit:
    """The circuit with other pulses and weight currents, and the gains that keep the jump of every event.

    The jump is (1 − e^(−t_pulse/τ)) I_w I_gain/I_τ. Longer pulses and larger weight currents need a smaller I_gain, so
    events are larger beside it, and a filter on silicon is nearer to a linear one. :func:`neurorobust.circuit.simulate`
    has linear filters, so the spikes are the same up to rounding.

    Args:
        pulse: length of the pulses of all synapses, s, > 0; by default as it is. weight: factor of all weight
            currents, > 0.

    Raises:
        ValueError: ``pulse`` or ``weight`` is not above 0.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> held = chipmodels.load("dynapse2").program(nr.nominal(network), network.placement())
        >>> circuit = nr.circuit.circuit_of(network, held)
        >>> driven = nr.circuit.with_drive(circuit, weight=60.0)
        >>> round(float(driven.synapses.weight.max() / circuit.synapses.weight.max()))
        60
    """
    t, factor = circuit.technology, check_number("weight", weight, strict=True)
    length = None if pulse is None else check_number("pulse", pulse, strict=True)
    dendrites = {}
    for kind, old in circuit.dendrites.items():
        tau = t.tau(t.c_syn, old.i_tau)
        i_pulse = old.i_pulse if length is None else np.full(len(tau), t.charge_time(t.c_pulse, np.array(length)))
        before, after = (np.expm1(-t.charge_time(t.c_pulse, each) / tau) for each in (old.i_pulse, i_pulse))
        dendrites[kind] = Dendrite(i_tau=old.i_tau, i_gain=old.i_gain * before / (after * factor), i_pulse=i_pulse)
    synapses = replace(circuit.synapses, weight=circuit.synapses.weight * factor)
    return replace(circuit, dendrites=dendrites, synapses=synapses)
