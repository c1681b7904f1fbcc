"""``Image``: what a board is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..._util.errors import check_number, check_path, unknown
from ...chip import Violation
from ...circuit import Circuit, DendriteType, Technology, checked_technology
from ..writing import write
from .asked import Asked, Deployed, asked_of, check_deployed, digest_of
from .checking import REMAKE, check_biases, check_currents, check_neurons, check_routes, check_synapses
from .codes import BiasCode, bias_codes
from .connectivity import synapses_of
from .currents import Currents, OperatingPoint, currents_asked
from .layout import LAYOUTS, Layout
from .parts import ImageLayer, ImageNeuron, Input, Synapse
from .simulated import FilterLinearity, circuit_from, events_over_gain, linearity

FORMAT = "neurorobust-image/1"


@dataclass(frozen=True)
class Image:
    """The memories and biases for a board of DYNAP-SE2 or DYNAP-SE1: integers, and bias currents in A.

    Made by :meth:`Deployment.image`, or read by :func:`neurorobust.deploy.load_image`. No board is attached to it.

    Attributes:
        device: "DYNAP-SE2" or "DYNAP-SE1". chip, version: of the chip model.
        deployment: SHA-256 of the content of the deployment that it came from, as in its file.
        layers: the layers on the chip, in the order of the neurons. channels: of the input of the network.
        neurons: those in use. inputs: addresses of the input channels.
        cores: bias currents of each core that is in use, A, by the names of the simulators.

    Raises:
        ValueError: an unknown device, or layers with another number of neurons.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> image = nr.deploy.onto(network, chipmodels.load("dynapse2")).image()
        >>> image.device, len(image.neurons), len(image.inputs)
        ('DYNAP-SE2', 128, 32)
    """

    device: str
    chip: str
    version: int
    deployment: str
    layers: tuple[ImageLayer, ...]
    channels: int
    neurons: tuple[ImageNeuron, ...]
    inputs: tuple[Input, ...]
    cores: Mapping[int, Mapping[str, float]]

    def __post_init__(self) -> None:
        if self.device not in LAYOUTS:
            raise unknown("device", self.device, LAYOUTS)
        if (named := sum(each.neurons for each in self.layers)) != len(self.neurons):
            raise ValueError(f"layers: they have {named} neurons; the image has {len(self.neurons)}.")
        object.__setattr__(self, "cores", {core: dict(biases) for core, biases in sorted(self.cores.items())})

    @property
    def layout(self) -> Layout:
        """The sizes of the device."""
        return LAYOUTS[self.device]

    @property
    def monitors(self) -> dict[int, int]:
        """The neurons that the host hears, by the tag of their events there."""
        return {each.tag: i for i, neuron in enumerate(self.neurons) for each in neuron.sram if each.to_host}

    @cached_property
    def synapses(self) -> tuple[Synapse, ...]:
        """The synapses that tags, masks and entries make; nothing else is looked at."""
        return tuple(synapses_of(self.neurons, self.inputs, self.channels))

    def check(self, deployment: Deployed | None = None, *, technology: Technology | None = None) -> list[Violation]:
        """Everything that is wrong: none for an image that a board could be given.

        By itself: addresses, tags, masks, slots and memories within the device; a tag that two sources use on one core;
        events that nobody sends, or nobody hears; biases that are missing or that the bias generator does not reach.

        Args:
            deployment: compare with it, too: chip, digest, the place of every neuron, every bias and latch, and every
                synapse, rebuilt from the image alone: source, target, sign, mask, slot. The ratio of the currents is
                that of Ispkthr and Igain_mem in the image; pulses and the factor of the weights are the image's, too.
            technology: that :meth:`Deployment.image` was given.

        Raises:
            TypeError: ``deployment`` is none.
        """
        if deployment is not None:
            check_deployed(deployment)
        checked_technology(technology)
        layout = self.layout
        broken = [
            *check_neurons(layout, self.neurons),
            *check_routes(layout, self.neurons, self.inputs, self.channels),
            *check_biases(layout, self.neurons, self.cores),
        ]
        return broken if deployment is None else broken + self._against(deployment, technology)

    def _against(self, deployment: Deployed, technology: Technology | None) -> list[Violation]:
        hint = "take the deployment that it came from"
        mine = f"{self.chip}, version {self.version}"
        theirs = f"{deployment.chip.name}, version {deployment.chip.version}"
        if mine != theirs or not self.layout.fits(deployment.chip):
            return [Violation("chip", "the image", mine, f"the deployment is for {theirs}", hint)]
        broken = []
        if self.deployment != (digest := digest_of(deployment)):
            broken.append(Violation("deployment", "the image", self.deployment[:12], f"it is {digest[:12]}", hint))
        asked = asked_of(deployment)
        places = [(neuron.core, neuron.number) for neuron in self.neurons]
        if self.layers != asked.layers or places != asked.places or self.channels != asked.channels:
            got = f"{len(places)} neurons of {len(self.layers)} layers"
            return [*broken, Violation("place", "the image", got, "the deployment has other places", hint)]
        broken += check_synapses(self.synapses, asked.synapses, self.channels)
        some = next(iter(self.cores.values()), {})
        if not all(some.get(name) for name in ("Ispkthr", "Igain_mem", "Ipulse")):
            return broken
        try:
            currents = self._currents(deployment, asked, some, technology)
        except ValueError as error:
            return [*broken, Violation("bias", "the deployment", str(error).rstrip("."), "", hint)]
        for i, (neuron, latches) in enumerate(zip(self.neurons, currents.latches)):
            if neuron.latches != latches:
                broken.append(Violation("latches", f"neuron {i}", str(neuron.latches), f"expected {latches}", REMAKE))
        return [*broken, *check_currents(self.cores, currents.cores)]

    def _currents(
        self, deployment: Deployed, asked: Asked, biases: Mapping[str, float], technology: Technology | None
    ) -> Currents:
        """The currents of a deployment at the operating point of this image: the factor of the weights is the median
        of all."""
        t = Technology() if technology is None else technology
        ratio, pulse = (
            biases["Ispkthr"] / biases["Igain_mem"],
            float(t.charge_time(t.c_pulse, np.array(biases["Ipulse"]))),
        )
        found = currents_asked(self.layout, deployment, asked, OperatingPoint(ratio, technology, pulse, 1.0))
        names = {name for kind in DendriteType for name in self.layout.weight_biases(kind)}
        factors = [
            currents[name] / found.cores[core][name]
            for core, currents in self.cores.items()
            for name in names & currents.keys() & found.cores.get(core, {}).keys()
        ]
        factor = float(np.median(factors)) if factors else 1.0
        return currents_asked(self.layout, deployment, asked, OperatingPoint(ratio, technology, pulse, factor))

    def circuit(self, *, delay: float = 0.0, technology: Technology | None = None) -> Circuit:
        """The circuit that the image describes, in continuous time; see :func:`neurorobust.circuit.simulate`.

        It is that of :func:`neurorobust.circuit.circuit_of` for the deployed network, up to rounding, with the same
        sites: :func:`neurorobust.circuit.deviating` makes the same die of both.

        Args:
            delay: from a spike of a neuron to its arrival, s. technology: constants; the currents of the image were
                chosen for those that :meth:`Deployment.image` was given.

        Raises:
            ValueError: :meth:`check` finds something.
        """
        if broken := self.check():
            raise ValueError(f"image: {broken[0]}")
        return circuit_from(
            self.layout,
            self.neurons,
            self.cores,
            self.synapses,
            self.channels,
            delay=check_number("delay", delay),
            technology=checked_technology(technology),
        )

    def events_over_gain(self, technology: Technology | None = None) -> dict[int, dict[str, float]]:
        """How far the synaptic filters are in their linear range, by core and filter: (1 − e^(−t_pulse/τ)) I_w/I_τ.

        It is the jump of the filter's current for an event through all its base currents (one entry on DYNAP-SE1), over
        I_gain. The circuit's equation of a filter holds for currents far above I_gain, so where this is far above 1.
        Below, a filter on silicon decays more slowly than its time constant says, and :meth:`circuit` has no part of
        that. The value does not depend on the ratio: weight currents and the length of a pulse choose it.
        """
        return events_over_gain(self.layout, self.cores, checked_technology(technology))

    def linearity(self, technology: Technology | None = None) -> dict[int, dict[str, FilterLinearity]]:
        """Whether the synaptic filters of a chip would be linear with these biases, by core and filter, with the part
        of its jump that an event would make; see :class:`FilterLinearity`. :meth:`circuit` has linear ones."""
        return linearity(self.layout, self.cores, checked_technology(technology))

    def bias_codes(self) -> dict[int, dict[str, BiasCode]]:
        """(coarse, fine) of every bias of every core, from rockpool's tables, where rockpool is installed.

        Raises:
            ImportError: rockpool is not installed. ValueError: the device is not DYNAP-SE2.
        """
        if not self.layout.base_currents:
            raise ValueError(f"image: is of {self.device}; codes are known for DYNAP-SE2 only.")
        return {core: bias_codes(biases) for core, biases in self.cores.items()}

    def save(self, path: str | Path) -> Path:
        """Write one JSON file, whole or not at all; see :func:`neurorobust.deploy.load_image`."""
        return write(check_path("path", path), self.entry(), "image")

    def entry(self) -> dict[str, Any]:
        """The content of the file, without its digest."""
        return {
            "format": FORMAT,
            "device": self.device,
            "chip": {"name": self.chip, "version": self.version},
            "deployment": self.deployment,
            "layers": [each._asdict() for each in self.layers],
            "channels": self.channels,
            "neurons": [_neuron_entry(neuron) for neuron in self.neurons],
            "inputs": [each._asdict() for each in self.inputs],
            "cores": {str(core): dict(biases) for core, biases in self.cores.items()},
        }

    def __repr__(self) -> str:
        return f"Image({len(self.neurons)} neurons, {len(self.inputs)} inputs, {self.device})"


def _neuron_entry(neuron: ImageNeuron) -> dict[str, Any]:
    return {
        "core": neuron.core,
        "number": neuron.number,
        "latches": neuron.latches._asdict(),
        "cam": [entry._asdict() | {"dendrite": entry.dendrite.name} for entry in neuron.cam],
        "sram": [destination._asdict() for destination in neuron.sram],
    }
