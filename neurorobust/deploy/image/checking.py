"""Checks of an image: by itself, and against the deployment that it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ...chip import Violation
from ...circuit import DendriteType
from .connectivity import senders
from .layout import AHP, ALWAYS, BIASES, Layout
from .parts import Destination, Entry, ImageNeuron, Input, Synapse, bits

REMAKE = "make the image again with deployment.image()"
Biases = Mapping[int, Mapping[str, float]]


def check_neurons(layout: Layout, neurons: Sequence[ImageNeuron]) -> Iterator[Violation]:
    """Limits of the memories of each neuron."""
    places = Counter((neuron.core, neuron.number) for neuron in neurons)
    monitors = Counter(each.tag for neuron in neurons for each in neuron.sram if each.to_host)
    for i, neuron in enumerate(neurons):
        where = f"neuron {i}"
        if not (0 <= neuron.core < layout.cores and 0 <= neuron.number < layout.neurons):
            got, allowed = f"core {neuron.core}, number {neuron.number}", f"{layout.cores} cores of {layout.neurons}"
            yield Violation("place", where, got, f"{layout.device} has {allowed}", REMAKE)
        if places[neuron.core, neuron.number] > 1:
            got = f"core {neuron.core}, number {neuron.number}, as another neuron"
            yield Violation("place", where, got, "an address is of one neuron", REMAKE)
        for memory, taken, most in (("CAM", neuron.cam, layout.entries), ("SRAM", neuron.sram, layout.destinations)):
            if len(taken) > most:
                yield Violation(memory, where, f"{len(taken)} entries", f"a neuron has {most}", REMAKE)
        for entry in neuron.cam:
            yield from _entry(layout, where, entry)
        yield from _slots(layout, where, neuron.cam)
        for destination in neuron.sram:
            yield from _destination(layout, where, neuron, destination, monitors)


def _entry(layout: Layout, where: str, entry: Entry) -> Iterator[Violation]:
    if not 0 <= entry.tag < layout.tags:
        yield Violation("tag", where, f"a synapse with tag {entry.tag}", f"there are {layout.tags}", REMAKE)
    most = 2 ** max(layout.base_currents, 1) - 1
    if not 1 <= entry.mask <= most:
        yield Violation("mask", where, f"{entry.mask} of a synapse", f"expected 1 to {most}", REMAKE)
    if not isinstance(entry.dendrite, DendriteType):
        yield Violation("dendrite", where, str(entry.dendrite), "expected a DendriteType", REMAKE)
    if entry.slot < 0:
        yield Violation("slot", where, str(entry.slot), "expected at least 0", REMAKE)


def _slots(layout: Layout, where: str, cam: Sequence[Entry]) -> Iterator[Violation]:
    """A slot is one synapse: one entry, or equal entries where a weight is a number of them."""
    different = cam if layout.base_currents else set(cam)
    for slot, count in sorted(Counter(entry.slot for entry in different).items()):
        if count > 1:
            yield Violation("slot", where, f"{count} synapses with slot {slot}", "a slot is of one synapse", REMAKE)


def _destination(
    layout: Layout, where: str, neuron: ImageNeuron, destination: Destination, monitors: Mapping[int, int]
) -> Iterator[Violation]:
    tag = destination.tag
    if not 0 <= tag < layout.tags:
        yield Violation("tag", where, f"spikes with tag {tag}", f"there are {layout.tags}", REMAKE)
    if not 1 <= destination.cores < 2**layout.cores:
        got, allowed = f"mask {destination.cores}", f"expected 1 to {2**layout.cores - 1}: {layout.cores} cores"
        yield Violation("cores", where, got, allowed, REMAKE)
    if not destination.on_chip and not destination.to_host:
        got = f"hops {destination.x_hop}, {destination.y_hop}"
        yield Violation("hops", where, got, "an image is of one chip: 0, 0 or −7, −7", "use one chip")
    if destination.to_host and (monitors[tag] > 1 or tag == layout.host_tag):
        other = "the host itself has" if tag == layout.host_tag else "another monitored neuron has"
        yield Violation("monitor", where, f"tag {tag}, which {other}", "the host tells neurons apart by tags", REMAKE)
    if layout.own_tags and tag != (own := own_tag(layout, neuron)):
        yield Violation("tag", where, f"spikes with tag {tag}", f"its own address is {own}", REMAKE)


def own_tag(layout: Layout, neuron: ImageNeuron) -> int:
    """The address of a neuron: its core and its number."""
    return neuron.core * layout.neurons + neuron.number


def check_routes(
    layout: Layout, neurons: Sequence[ImageNeuron], inputs: Sequence[Input], channels: int
) -> Iterator[Violation]:
    """Addresses that nobody sends or hears, and tags that two sources use on one core."""
    counts = Counter(each.channel for each in inputs)
    for each in inputs:
        where = f"channel {each.channel}"
        if not 0 <= each.channel < channels or counts[each.channel] > 1:
            got = "there twice" if counts[each.channel] > 1 else str(each.channel)
            yield Violation("channel", where, got, f"expected each of 0 to {channels - 1} once", REMAKE)
        if not 0 <= each.tag < layout.tags:
            yield Violation("tag", where, f"events with tag {each.tag}", f"there are {layout.tags}", REMAKE)
        if not 1 <= each.cores < 2**layout.cores:
            yield Violation("cores", where, f"mask {each.cores}", f"expected 1 to {2**layout.cores - 1}", REMAKE)
    arrive = senders(neurons, inputs, channels)
    heard = {(neuron.core, entry.tag) for neuron in neurons for entry in neuron.cam}
    for (core, tag), sources in sorted(arrive.items()):
        told = " and ".join(name_of(source, channels) for source in sources)
        if len(sources) > 1:
            yield Violation("tag", f"core {core}", f"tag {tag} of {told}", "a tag is of one source", REMAKE)
        if (core, tag) not in heard:
            yield Violation("route", f"core {core}", f"tag {tag} of {told}", "nobody listens to it there", REMAKE)
    for core, tag in sorted(heard - arrive.keys()):
        yield Violation("route", f"core {core}", f"synapses with tag {tag}", "nobody sends it there", REMAKE)


def name_of(source: int, channels: int) -> str:
    return f"channel {source}" if source < channels else f"neuron {source - channels}"


def check_biases(layout: Layout, neurons: Sequence[ImageNeuron], cores: Biases) -> Iterator[Violation]:
    """Biases that are missing, or beyond what the bias generator reaches; latches that a core cannot tell apart."""
    for core in sorted({neuron.core for neuron in neurons} | cores.keys()):
        own = [neuron for neuron in neurons if neuron.core == core]
        there = cores.get(core, {})
        for name in sorted(needed(layout, own) - there.keys()):
            yield Violation("bias", f"{name} on core {core}", "none", "the neurons there need it", REMAKE)
        for name, current in sorted(there.items()):
            reach = layout.ranges.get(name)
            if reach is None:
                yield Violation("bias", f"{name} on core {core}", "a bias of this name", "it is unknown", REMAKE)
            elif not reach.low <= current <= reach.high:
                yield Violation(
                    "bias",
                    f"{name} on core {core}",
                    f"{current:.3g} A",
                    f"the bias generator reaches {reach.low:g} to {reach.high:g} A ({reach.status}: {reach.source})",
                    f"it follows from {BIASES[name].sets}: change that, or ratio=… of deployment.image()",
                )
        if not layout.switches and len({neuron.latches for neuron in own}) > 1:
            got = "neurons with different latches"
            yield Violation("latches", f"core {core}", got, f"{layout.device} has them for a core", "use another core")


def needed(layout: Layout, neurons: Iterable[ImageNeuron]) -> set[str]:
    """The biases that the neurons of a core need."""
    found: set[str] = set()
    for neuron in neurons:
        found.update(ALWAYS, AHP if neuron.latches.adaptation else (), ["Idc"] * neuron.latches.direct_current)
        used = {(entry.dendrite, entry.mask) for entry in neuron.cam if isinstance(entry.dendrite, DendriteType)}
        for dendrite, mask in used:
            found |= {f"Itau_{dendrite.name.lower()}", f"Igain_{dendrite.name.lower()}"}
            names = layout.weight_biases(dendrite)
            found |= {names[bit] for bit in bits(mask) if bit < len(names)}
    return found


def check_synapses(found: Sequence[Synapse], asked: Sequence[Synapse], channels: int) -> Iterator[Violation]:
    """Where the synapses of an image differ from those of a deployment, one violation for each neuron."""
    missing, extra = set(asked) - set(found), set(found) - set(asked)
    twice = [synapse for synapse, count in Counter(found).items() if count > 1]
    for target in sorted({synapse.target for synapse in (*missing, *extra, *twice)}):
        lacks = sorted(each for each in missing if each.target == target)
        more = sorted(each for each in (*extra, *twice) if each.target == target)
        yield Violation(
            "connectivity",
            f"neuron {target}",
            f"{len(more)} synapses that the deployment has not{_first(more, channels)}",
            f"it has {len(lacks)} others{_first(lacks, channels)}",
            REMAKE,
        )


def _first(synapses: Sequence[Synapse], channels: int) -> str:
    if not synapses:
        return ""
    one = synapses[0]
    return f", such as {one.dendrite.name} {one.weight} from {name_of(one.source, channels)}, slot {one.slot}"
