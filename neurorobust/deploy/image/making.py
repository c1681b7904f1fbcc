"""The image of a deployment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from ...chip import Violation
from ...chip.encodings import MaskCodebook
from ...circuit import Circuit, Technology, circuit_of
from ...nn import LinearizedDpi
from ...nn.network import Network
from ..errors import DeploymentError
from .asked import Asked, Deployed, digest_of, synapses_asked
from .image import Image
from .layout import BIASES, Layout, layout_of
from .parts import TO_HOST, Destination, Entry, ImageNeuron, Input, Latches

DIGITS = 9
"""Significant digits of a bias current: the last bits of a float differ between machines."""


def image_of(deployment: Deployed, ratio: float, technology: Technology | None) -> Image:
    """See :meth:`neurorobust.deploy.Deployment.image`."""
    layout = layout_of(deployment.chip)
    circuit = _circuit(deployment, ratio, technology)
    asked = synapses_asked(deployment)
    latches = [
        Latches(bool(on), bool(ahp > 0), bool(direct > 0))
        for on, ahp, direct in zip(circuit.neurons.feedback, circuit.neurons.i_w_ahp, circuit.neurons.i_dc)
    ]
    cores, broken = _biases(layout, deployment, circuit, latches, asked)
    heard = _heard(asked)
    tags = _tags(layout, deployment, asked, heard)
    image = Image(
        layout.device,
        deployment.chip.name,
        deployment.chip.version,
        digest_of(deployment),
        asked.populations,
        asked.channels,
        _neurons(layout, asked, latches, tags, heard, _monitored(deployment.network, asked)),
        tuple(Input(c, tags[c], _mask(heard[c])) for c in range(asked.channels) if c in heard),
        cores,
    )
    broken += image.check()
    if broken:
        raise DeploymentError(f"the image of {deployment.chip.name}", tuple(broken))
    return image


def _circuit(deployment: Deployed, ratio: float, technology: Technology | None) -> Circuit:
    """The currents that the equations of the network ask for."""
    for name, layer in deployment.network.layers().items():
        if name in deployment.cores and type(layer) is not LinearizedDpi:
            raise ValueError(
                f"layer {name!r}: is {type(layer).__name__}, whose bias currents are unknown; an image needs "
                f"LinearizedDpi: make such a network with nr.deploy.adapt(model, chip, data), and deploy that."
            )
    try:
        return circuit_of(deployment.network, deployment.programmed, ratio=ratio, technology=technology)
    except TypeError as error:
        raise ValueError(f"image: {error}") from error


def _biases(
    layout: Layout, deployment: Deployed, circuit: Circuit, latches: list[Latches], asked: Asked
) -> tuple[dict[int, dict[str, float]], list[Violation]]:
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
    broken += _base_currents(layout, deployment, circuit, asked, cores)
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


def _base_currents(
    layout: Layout, deployment: Deployed, circuit: Circuit, asked: Asked, cores: dict[int, dict[str, float]]
) -> list[Violation]:
    """The base currents of each core: those of its codebook, or the one that an entry of each sign has."""
    if layout.base_currents:
        for core, biases in cores.items():
            held = deployment.programmed.held["weight", core]
            assert isinstance(held.codec, MaskCodebook)
            for k, current in enumerate(held.codec.currents):
                biases[f"Iw_{k}"] = _digits(current * held.gain)
        return []
    given = {
        (int(target), int(slot)): float(weight)
        for target, slot, weight in zip(circuit.synapses.target, circuit.synapses.slot, circuit.synapses.weight)
    }
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


def _heard(asked: Asked) -> dict[int, list[int]]:
    """The cores on which a synapse listens to each source."""
    found: dict[int, set[int]] = {}
    for each in asked.synapses:
        found.setdefault(each.source, set()).add(asked.places[each.target][0])
    return {source: sorted(cores) for source, cores in found.items()}


def _mask(numbers: Iterable[int]) -> int:
    return sum(1 << number for number in numbers)


def _tags(layout: Layout, deployment: Deployed, asked: Asked, heard: Mapping[int, list[int]]) -> dict[int, int]:
    """The tag of every source that is heard."""
    if not layout.own_tags:
        return {
            asked.starts[route.source] + route.element: route.tag
            for route in deployment.routes
            if route.tag is not None
        }
    tags = {asked.channels + i: core * layout.neurons + number for i, (core, number) in enumerate(asked.places)}
    taken: dict[int, set[int]] = {}
    for source, cores in heard.items():
        for core in cores if source >= asked.channels else ():
            taken.setdefault(core, set()).add(tags[source])
    for channel in sorted((source for source in heard if source < asked.channels), key=lambda c: (-len(heard[c]), c)):
        used = set().union(*(taken.get(core, set()) for core in heard[channel]))
        tag = next((tag for tag in range(layout.tags) if tag not in used), None)
        if tag is None:
            got = f"channel {channel} and {len(used)} other sources"
            hint = "use fewer inputs or neurons"
            broken = Violation("tags", f"core {heard[channel][0]}", got, f"there are {layout.tags}", hint)
            raise DeploymentError(f"the image of {deployment.chip.name}", (broken,))
        tags[channel] = tag
        for core in heard[channel]:
            taken.setdefault(core, set()).add(tag)
    return tags


def _monitored(network: Network, asked: Asked) -> set[str]:
    """The layers whose spikes the host needs: those that a layer on the host reads, and the last one."""
    on_chip = {each.name for each in asked.populations}
    read = {source for name in network.names if name not in on_chip for source in network.inputs[name]}
    return (read | {network.names[-1]}) & on_chip


def _neurons(
    layout: Layout,
    asked: Asked,
    latches: list[Latches],
    tags: Mapping[int, int],
    heard: Mapping[int, list[int]],
    monitored: Collection[str],
) -> tuple[ImageNeuron, ...]:
    cams: list[list[Entry]] = [[] for _ in asked.places]
    for each in asked.synapses:
        mask, entries = (each.weight, 1) if layout.base_currents else (1, each.weight)
        cams[each.target] += [Entry(tags[each.source], each.dendrite, mask, each.slot)] * entries
    shown = [each.name in monitored for each in asked.populations for _ in range(each.neurons)]
    found = []
    for i, (core, number) in enumerate(asked.places):
        source, sram = asked.channels + i, []
        if source in heard:
            sram.append(Destination(tags[source], _mask(heard[source])))
        if shown[i]:
            own = core * layout.neurons + number
            sram.append(Destination(own, _mask(range(layout.cores)), TO_HOST, TO_HOST))
        found.append(ImageNeuron(core, number, latches[i], tuple(cams[i]), tuple(sram)))
    return tuple(found)
