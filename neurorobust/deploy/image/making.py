"""The image of a deployment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ..._util.errors import check_number
from ...chip import Violation
from ...circuit import checked_technology
from ...nn.network import Network
from ..errors import DeploymentError
from .asked import Asked, Deployed, asked_of, digest_of
from .currents import OperatingPoint, currents_asked
from .image import Image
from .layout import Layout, layout_of
from .parts import TO_HOST, Destination, Entry, ImageNeuron, Input, Latches


def image_of(deployment: Deployed, point: OperatingPoint) -> Image:
    """See :meth:`neurorobust.deploy.Deployment.image`."""
    point = OperatingPoint(
        ratio=check_number("ratio", point.ratio, strict=True),
        technology=checked_technology(point.technology),
        pulse=None if point.pulse is None else check_number("pulse", point.pulse, strict=True),
        weight=check_number("weight", point.weight, strict=True),
    )
    layout = layout_of(deployment.chip)
    asked = asked_of(deployment)
    currents = currents_asked(layout, deployment, asked, point)
    received = _received(asked)
    tags = _tags(layout, deployment, asked, received)
    image = Image(
        layout.device,
        deployment.chip.name,
        deployment.chip.version,
        digest_of(deployment),
        asked.layers,
        asked.channels,
        _neurons(layout, asked, currents.latches, tags, received, _monitored(deployment.native, asked)),
        tuple(Input(c, tags[c], _mask(received[c])) for c in range(asked.channels) if c in received),
        currents.cores,
    )
    if broken := (*currents.broken, *image.check()):
        raise DeploymentError(f"the image of {deployment.chip.name}", broken)
    return image


def _received(asked: Asked) -> dict[int, list[int]]:
    """The cores on which a synapse listens to each source."""
    found: dict[int, set[int]] = {}
    for each in asked.synapses:
        found.setdefault(each.source, set()).add(asked.places[each.target][0])
    return {source: sorted(cores) for source, cores in found.items()}


def _mask(numbers: Iterable[int]) -> int:
    return sum(1 << number for number in numbers)


def _tags(layout: Layout, deployment: Deployed, asked: Asked, received: Mapping[int, list[int]]) -> dict[int, int]:
    """The tag of every source that is received."""
    if not layout.own_tags:
        return {
            asked.starts[route.source] + route.element: route.tag
            for route in deployment.routes
            if route.tag is not None
        }
    tags = {asked.channels + i: core * layout.neurons + number for i, (core, number) in enumerate(asked.places)}
    taken: dict[int, set[int]] = {}
    for source, cores in received.items():
        for core in cores if source >= asked.channels else ():
            taken.setdefault(core, set()).add(tags[source])
    for channel in sorted(
        (source for source in received if source < asked.channels), key=lambda c: (-len(received[c]), c)
    ):
        used = set().union(*(taken.get(core, set()) for core in received[channel]))
        tag = next((tag for tag in range(layout.tags) if tag not in used), None)
        if tag is None:
            got = f"channel {channel} and {len(used)} other sources"
            hint = "use fewer inputs or neurons"
            broken = Violation("tags", f"core {received[channel][0]}", got, f"there are {layout.tags}", hint)
            raise DeploymentError(f"the image of {deployment.chip.name}", (broken,))
        tags[channel] = tag
        for core in received[channel]:
            taken.setdefault(core, set()).add(tag)
    return tags


def _monitored(network: Network, asked: Asked) -> set[str]:
    """The layers whose spikes the host needs: those that a layer on the host reads, and the last one."""
    on_chip = {each.name for each in asked.layers}
    read = {source for name in network.names if name not in on_chip for source in network.inputs[name]}
    return (read | {network.names[-1]}) & on_chip


def _neurons(
    layout: Layout,
    asked: Asked,
    latches: list[Latches],
    tags: Mapping[int, int],
    received: Mapping[int, list[int]],
    monitored: Collection[str],
) -> tuple[ImageNeuron, ...]:
    cams: list[list[Entry]] = [[] for _ in asked.places]
    for each in asked.synapses:
        mask, entries = (each.weight, 1) if layout.base_currents else (1, each.weight)
        cams[each.target] += [Entry(tags[each.source], each.dendrite, mask, each.slot)] * entries
    shown = [each.name in monitored for each in asked.layers for _ in range(each.neurons)]
    found = []
    for i, (core, number) in enumerate(asked.places):
        source, sram = asked.channels + i, []
        if source in received:
            sram.append(Destination(tags[source], _mask(received[source])))
        if shown[i]:
            own = core * layout.neurons + number
            sram.append(Destination(own, _mask(range(layout.cores)), TO_HOST, TO_HOST))
        found.append(ImageNeuron(core, number, latches[i], tuple(cams[i]), tuple(sram)))
    return tuple(found)
