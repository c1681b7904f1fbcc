"""The bias currents and latches that a deployment asks of an image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...chip import Violation
from ...chip.encodings import MaskCodebook
from ...circuit import Circuit, Technology, circuit_of, with_drive
from ...nn import LinearizedDpi
from .asked import Asked, Deployed
from .layout import BIASES, Layout
from .parts import Latches

DIGITS = 9
"""Significant digits of a bias current: the last bits of a float differ between machines."""


class OperatingPoint(NamedTuple):
    """What chooses the currents where the network leaves them free; see :meth:`Deployment.image`.

    Attributes:
        ratio: I_thr/I_gain. pulse: of the synapses, s; None for 10 µs. weight: factor of the base currents.
    """

    ratio: float
    technology: Technology | None
    pulse: float | None
    weight: float


class Currents(NamedTuple):
    """Bias currents that the neurons of a deployment ask for.

    Attributes:
        latches: of each neuron. cores: one value of every bias, A, by core. broken: where a core would need several.
    """

    latches: list[Latches]
    cores: dict[int, dict[str, float]]
    broken: list[Violation]


def currents_asked(layout: Layout, deployment: Deployed, asked: Asked, point: OperatingPoint) -> Currents:
    """The currents of :func:`neurorobust.circuit.circuit_of`.

    Raises:
        ValueError: a layer is no LinearizedDpi, or has values that the circuit cannot have.
    """
    circuit = _circuit(deployment, point)
    c = circuit.neurons
    latches = [
        Latches(bool(on), bool(ahp > 0), bool(direct > 0)) for on, ahp, direct in zip(c.feedback, c.i_w_ahp, c.i_dc)
    ]
    cores, broken = _biases(circuit, latches)
    if layout.base_currents:
        _add_codebooks(deployment, cores, point.weight)
    else:
        broken += _add_entries(layout, circuit, asked, cores)
    return Currents(latches, cores, broken)


def _circuit(deployment: Deployed, point: OperatingPoint) -> Circuit:
    """The currents that the equations of the network ask for."""
    for name, layer in deployment.native.layers().items():
        if name in deployment.cores and type(layer) is not LinearizedDpi:
            raise ValueError(
                f"layer {name!r}: is {type(layer).__name__}, whose bias currents are unknown; an image needs "
                f"LinearizedDpi: make such a network with nr.deploy.adapt(model, chip, data), and deploy that."
            )
    try:
        circuit = circuit_of(deployment.native, deployment.programmed, ratio=point.ratio, technology=point.technology)
    except TypeError as error:
        raise ValueError(f"image: {error}") from error
    return with_drive(circuit, pulse=point.pulse, weight=point.weight)


def _biases(circuit: Circuit, latches: list[Latches]) -> tuple[dict[int, dict[str, float]], list[Violation]]:
    """One value of every bias for each core, and where the neurons of a core ask for several."""
    c, n = circuit.neurons, circuit.neurons.n
    everyone = np.ones(n, dtype=bool)
    adapting = np.array([each.adaptation for each in latches])
    wanted = {
        "Itau_mem": (c.i_tau_mem, everyone),
        "Igain_mem": (c.i_gain_mem, everyone),
        "Ispkthr": (c.i_thr, everyone),
        "Iref": (c.i_ref, everyone),
        "Idc": (c.i_dc, np.array([each.direct_current for each in latches])),
        "Itau_ahp": (c.i_tau_ahp, adapting),
        "Igain_ahp": (c.i_gain_ahp, adapting),
        "Iw_ahp": (c.i_w_ahp, adapting),
        "Ipulse_ahp": (c.i_pulse_ahp, adapting),
    }
    for kind, dendrite in circuit.dendrites.items():
        wanted[f"Itau_{kind.name.lower()}"] = dendrite.i_tau, everyone
        wanted[f"Igain_{kind.name.lower()}"] = dendrite.i_gain, everyone
        wanted["Ipulse"] = dendrite.i_pulse, everyone
    cores: dict[int, dict[str, float]] = {core: {} for core in sorted(set(c.core.tolist()))}
    broken = []
    for name, (values, used) in wanted.items():
        for core, biases in cores.items():
            here = np.flatnonzero(used & (c.core == core))
            if not len(here):
                continue
            found = _rounded(values[here])
            if len(found) > 1:
                broken.append(_several(name, core, found))
            biases[name] = found[0]
    return cores, broken


def _rounded(values: np.ndarray) -> list[float]:
    """The different values, up to rounding, in order of size."""
    different = np.unique(values)
    apart = np.flatnonzero(np.diff(different) > 1e-6 * different[1:])
    return [_digits(different[i]) for i in [0, *(apart + 1).tolist()]]


def _digits(current: float) -> float:
    return float(f"{current:.{DIGITS - 1}e}")


def _several(name: str, core: int, found: list[float]) -> Violation:
    got = ", ".join(f"{value:.4g}" for value in found[:4]) + (" …" if len(found) > 4 else "") + " A"
    hint = f"it follows from {BIASES[name].sets}: make them equal there, or put the neurons on other cores"
    return Violation("bias", f"{name} on core {core}", got, "a core has one value", hint)


def _add_codebooks(deployment: Deployed, cores: dict[int, dict[str, float]], factor: float) -> None:
    """The base currents of each core."""
    for core, biases in cores.items():
        held = deployment.programmed.held["weight", core]
        assert isinstance(held.codec, MaskCodebook)
        for k, current in enumerate(held.codec.currents):
            biases[f"Iw_{k}"] = _digits(current * held.gain * factor)


def _add_entries(layout: Layout, circuit: Circuit, asked: Asked, cores: dict[int, dict[str, float]]) -> list[Violation]:
    """The current of one entry of each sign, where a weight is a number of entries."""
    synapses = circuit.synapses
    given = dict(zip(zip(synapses.target.tolist(), synapses.slot.tolist()), synapses.weight.tolist()))
    found: dict[tuple[int, str], list[float]] = {}
    for each in asked.synapses:
        (name,) = layout.weight_biases(each.dendrite)
        key = asked.places[each.target][0], name
        found.setdefault(key, []).append(given[each.target, each.slot] / each.weight)
    broken = []
    for (core, name), values in sorted(found.items()):
        different = _rounded(np.array(values))
        if len(different) > 1:
            broken.append(_several(name, core, different))
        cores[core][name] = different[0]
    return broken
