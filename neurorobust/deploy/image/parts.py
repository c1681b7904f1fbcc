"""The parts of an image: entries of the memories of a neuron, its latches, and the addresses of input channels."""

from __future__ import annotations

from typing import NamedTuple

from ...circuit import DendriteType

TO_HOST = -7
"""x_hop and y_hop of an event that leaves the chip for the host."""


class Entry(NamedTuple):
    """One entry of the content-addressable memory (CAM) of a neuron: a synapse.

    Attributes:
        tag: it listens to. dendrite: the filter that it feeds.
        mask: which of the base currents are on, bit k for I_w,k; always 1 on a chip without masks.
        slot: place among the synapses of the neuron: the site whose deviation it has on a virtual die. Entries of one
            weight share it where a weight is a number of entries.
    """

    tag: int
    dendrite: DendriteType
    mask: int
    slot: int


class Destination(NamedTuple):
    """One entry of the SRAM of a neuron: where its spikes go.

    Attributes:
        tag: the address that they carry. cores: the cores that get them, bit c for core c.
        x_hop, y_hop: chips to go; 0, 0 is this chip, and −7, −7 the host.
    """

    tag: int
    cores: int
    x_hop: int = 0
    y_hop: int = 0

    @property
    def on_chip(self) -> bool:
        return self.x_hop == 0 and self.y_hop == 0

    @property
    def to_host(self) -> bool:
        return self.x_hop == TO_HOST and self.y_hop == TO_HOST


class Latches(NamedTuple):
    """Switches of a neuron.

    Attributes:
        exponential: the exponential type, with positive feedback; else the threshold type (soif_type on DYNAP-SE2).
        adaptation: the adaptation is on (so_adaptation). direct_current: the direct current is on (so_dc).
    """

    exponential: bool = False
    adaptation: bool = False
    direct_current: bool = False


class ImageNeuron(NamedTuple):
    """One neuron that is in use.

    Attributes:
        core, number: its place. latches: its switches. cam: its synapses. sram: where its spikes go.
    """

    core: int
    number: int
    latches: Latches
    cam: tuple[Entry, ...]
    sram: tuple[Destination, ...]


class Input(NamedTuple):
    """Address of the events of one input channel; a channel that nobody hears has none.

    Attributes:
        channel: feature of the input of the network. tag: its address. cores: that get it, bit c for core c.
    """

    channel: int
    tag: int
    cores: int


class Population(NamedTuple):
    """A layer of the network; the neurons of an image are those of the first one, then those of the next …"""

    name: str
    neurons: int


class Synapse(NamedTuple):
    """A synapse of the network that an image makes.

    Attributes:
        source: a channel, or the number of channels + i for neuron i. target: neuron. dendrite: see :class:`Entry`.
        weight: the mask, or the number of entries where there are no masks. slot: see :class:`Entry`.
    """

    source: int
    target: int
    dendrite: DendriteType
    weight: int
    slot: int


def bits(mask: int) -> list[int]:
    """The numbers of the bits that are 1."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
