"""The synapses that an image makes, from tags, masks and entries alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...circuit import DendriteType
from .parts import ImageNeuron, Input, Synapse, bits


def senders(neurons: Sequence[ImageNeuron], inputs: Iterable[Input], channels: int) -> dict[tuple[int, int], list[int]]:
    """The sources whose events arrive at a core with a tag, by (core, tag): channels, then neurons."""
    found: dict[tuple[int, int], list[int]] = {}
    sent = [(each.channel, each.tag, each.cores) for each in inputs]
    sent += [
        (channels + i, destination.tag, destination.cores)
        for i, neuron in enumerate(neurons)
        for destination in neuron.sram
        if destination.on_chip
    ]
    for source, tag, cores in sent:
        for core in bits(cores):
            found.setdefault((core, tag), []).append(source)
    return found


def synapses_of(neurons: Sequence[ImageNeuron], inputs: Iterable[Input], channels: int) -> list[Synapse]:
    """Every synapse, ordered by target and slot. Entries of one source, filter and slot are one synapse."""
    arrive = senders(neurons, inputs, channels)
    found: dict[tuple[int, int, int, DendriteType], int] = {}
    for target, neuron in enumerate(neurons):
        for entry in neuron.cam:
            for source in arrive.get((neuron.core, entry.tag), ()):
                key = target, entry.slot, source, entry.dendrite
                found[key] = found.get(key, 0) + entry.mask
    return [
        Synapse(source, target, dendrite, weight, slot)
        for (target, slot, source, dendrite), weight in sorted(found.items())
    ]
