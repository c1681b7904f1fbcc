"""Places and synapses that a deployment asks of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from ..._util import digests
from ...chip import ChipModel, Programmed
from ...chip.architectures import Route
from ...circuit import DendriteType
from ...core.noise import INPUT
from ...nn.network import Network
from ..writing import canonical
from .parts import ImageLayer, Synapse


class Deployed(Protocol):
    """The parts that are read of a :class:`neurorobust.deploy.Deployment`."""

    @property
    def chip(self) -> ChipModel: ...
    @property
    def native(self) -> Network: ...
    @property
    def programmed(self) -> Programmed: ...
    @property
    def cores(self) -> Mapping[str, Tensor]: ...
    @property
    def routes(self) -> list[Route]: ...
    def entry(self) -> dict[str, Any]:
        """The content of its file."""


class Asked(NamedTuple):
    """Places and synapses of a deployment; sources and targets are numbered as in an image.

    Attributes:
        places: (core, number) of each neuron. starts: the first source of every layer, and of the input.
        synapses: ordered by target and slot; those whose code is 0 are none.
    """

    layers: tuple[ImageLayer, ...]
    places: list[tuple[int, int]]
    channels: int
    starts: Mapping[str, int]
    synapses: Sequence[Synapse]


def digest_of(deployment: Deployed) -> str:
    """The SHA-256 of the content of a deployment, as its file holds it.

    Raises:
        TypeError: it is none.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> len(nr.deploy.digest_of(deployment)), nr.deploy.digest_of(deployment) == deployment.image().deployment
        (64, True)
    """
    check_deployed(deployment)
    return digests.of_bytes(canonical(deployment.entry()).encode())


def check_deployed(deployment: object) -> None:
    """Raise TypeError for anything but a deployment."""
    if not hasattr(deployment, "programmed"):
        raise TypeError(
            f"deployment: got a {type(deployment).__name__}; expected a Deployment, as nr.deploy.onto returns it."
        )


def asked_of(deployment: Deployed) -> Asked:
    """Places and synapses of a deployment."""
    network, placement = deployment.native, deployment.programmed.placement
    layers = tuple(ImageLayer(name, layer.n) for name, layer in network.layers().items() if name in deployment.cores)
    starts, first = {INPUT: 0}, network.n_in
    places: list[tuple[int, int]] = []
    for name, n in layers:
        starts[name] = first
        first += n
        sites = placement.numbering[name]
        places += zip(sites.core.tolist(), sites.number.tolist())
    synapses = [synapse for name, _ in layers for synapse in _into(name, deployment, starts)]
    synapses.sort(key=lambda each: (each.target, each.slot))
    return Asked(layers, places, network.n_in, starts, synapses)


def _into(name: str, deployment: Deployed, starts: Mapping[str, int]) -> list[Synapse]:
    """The synapses of one layer."""
    network, programmed = deployment.native, deployment.programmed
    found = []
    for part in network.layers()[name].connections():
        weight = f"{name}.{part}.weight"
        codes = programmed.codes[weight]
        one_to_one = codes.ndim == 1
        slots = programmed.placement.slots(weight, codes)
        sources = _columns(name, part, network, starts)
        codes = codes.reshape(slots.shape)
        rows, columns = ((codes != 0) & (slots >= 0)).nonzero(as_tuple=True)
        for row, column, code, slot in zip(
            rows.tolist(), columns.tolist(), codes[rows, columns].tolist(), slots[rows, columns].tolist()
        ):
            dendrite = DendriteType.AMPA if code > 0 else DendriteType.GABA
            target = starts[name] - network.n_in + row
            found.append(Synapse(sources[row if one_to_one else column], target, dendrite, abs(code), slot))
    return found


def _columns(name: str, part: str, network: Network, starts: Mapping[str, int]) -> list[int]:
    """The source of every column of a weight."""
    sizes = {layer: each.n for layer, each in network.layers().items()} | {INPUT: network.n_in}
    sources = network.inputs[name] if part == "input" else (name,)
    return [starts[source] + i for source in sources for i in range(sizes[source])]
