"""How often the floors of a network act, and other gradients through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.noise import INPUT
from ..core.turns import turn
from ..dynamics import Floor, NoFloor
from .network import Network
from .neurons import LinearizedDpi

SAMPLES = 250  # in one pass


class _Floors(nn.Module):
    """The floors of a network as the forward pass of a module, so that they can be computed at other parameters."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        signals = {INPUT: x.transpose(0, 1)} | self.network(x)[1]
        counts = {}
        for name, layer in self.network.layers().items():
            if isinstance(layer, LinearizedDpi):
                signal = torch.cat([signals[source] for source in self.network.inputs[name]], -1)
                trace = layer.trace(signal, self.network.dt)
                counts[name] = (trace.at_floor | trace.cut).sum((0, 1))
        return counts


@torch.no_grad()
def floor_fractions(network: Network, params: Mapping[str, Tensor], x: Tensor | Iterable[Tensor]) -> dict[str, Tensor]:
    """The fraction of steps in which the floor acts, or cuts the input of a neuron with
    :class:`~neurorobust.dynamics.CancelsExcitation`; for every neuron with a floor.

    A large fraction says that the gradient misses much of what a die does: below a hard floor it is 0.

    Args:
        network: with layers of :class:`~neurorobust.nn.LinearizedDpi`. params: as for :func:`neurorobust.run`.
        x: input, batch first, or blocks of it.

    Returns:
        {layer: (n,)}; without layers of other neurons. 0 for neurons with ``NoFloor()``.

    Example:
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> x = nr.tasks.ecg().test.x[:5]
        >>> found = nr.nn.floor_fractions(network, nr.nominal(network), x)["hidden"]
        >>> round(found.mean().item(), 1)  # of all steps: there the true gradient is 0
        0.6
    """
    whole = {f"network.{name}": value for name, value in params.items()}
    totals: dict[str, Tensor] = {}
    steps = 0
    for block in x.split(SAMPLES) if isinstance(x, Tensor) else x:
        steps += block.shape[0] * block.shape[1]
        with turn(network):
            found = functional_call(_Floors(network), whole, (block,), strict=False)
        for name, count in found.items():
            totals[name] = totals[name] + count if name in totals else count
        dtype = block.dtype
    return {name: count.to(dtype) / steps for name, count in totals.items()}


def has_floors(network: nn.Module) -> bool:
    """Whether a network has neurons with a floor that acts."""
    return bool(_holders(network))


def fraction_at_floor(network: nn.Module, params: Mapping[str, Tensor], x: Tensor | Iterable[Tensor]) -> float | None:
    """:func:`floor_fractions` as one number: of all steps of all neurons with a floor that acts. None without such
    neurons, and for modules that are no :class:`Network`."""
    if not isinstance(network, Network):
        return None
    layers = network.layers()
    acting = [name for name, layer in layers.items() if has_floors(layer)]
    if not acting:
        return None
    fractions = floor_fractions(network, params, x)
    return float(torch.cat([fractions[name] for name in acting]).double().mean())


@contextmanager
def using_floor(network: nn.Module, floor: Floor) -> Iterator[None]:
    """Differentiate through the floors of a network in another way inside the ``with`` block; spikes do not change.

    Neurons with ``NoFloor()`` keep it.

    Raises:
        TypeError: the floor is not one, or is ``NoFloor()``, which would change spikes.

    Example:
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> with nr.nn.using_floor(network, nr.nn.LeakyFloor(0.3)):
        ...     inside = network.hidden.floor
        >>> inside, network.hidden.floor
        (LeakyFloor(slope=0.3), HardFloor())
    """
    if not isinstance(floor, Floor) or isinstance(floor, NoFloor):
        raise TypeError(f"floor: got {floor!r}; expected a floor with the same spikes, such as LeakyFloor(0.1).")
    holders = _holders(network)
    before = [holder.floor for holder in holders]
    try:
        for holder in holders:
            holder.floor = floor
        yield
    finally:
        for holder, own in zip(holders, before):
            holder.floor = own


def _holders(network: nn.Module) -> list[Any]:
    """The modules with a floor that acts."""
    floors = ((module, getattr(module, "floor", None)) for module in network.modules())
    return [module for module, floor in floors if isinstance(floor, Floor) and not isinstance(floor, NoFloor)]
