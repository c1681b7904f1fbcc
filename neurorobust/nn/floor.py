"""How often the floors of a network act, and other gradients through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.noise import INPUT
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
                counts[name] = layer.trace(signal, self.network.dt).at_floor.sum((0, 1))
        return counts


@torch.no_grad()
def floor_fractions(network: Network, params: Mapping[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    """The fraction of steps in which the floor acts, for every neuron with a floor.

    A large fraction says that the gradient misses much of what a die does: below a hard floor it is 0.

    Args:
        network: with layers of :class:`~neurorobust.nn.LinearizedDpi`. params: as for :func:`neurorobust.run`.
        x: input, batch first.

    Returns:
        {layer: (n,)}; without layers of other neurons. 0 for neurons with ``NoFloor()``.
    """
    whole = {f"network.{name}": value for name, value in params.items()}
    totals: dict[str, Tensor] = {}
    for block in x.split(SAMPLES):
        for name, count in functional_call(_Floors(network), whole, (block,), strict=False).items():
            totals[name] = totals[name] + count if name in totals else count
    return {name: count.to(x.dtype) / (x.shape[0] * x.shape[1]) for name, count in totals.items()}


@contextmanager
def using_floor(network: nn.Module, floor: Floor) -> Iterator[None]:
    """Differentiate through the floors of a network in another way inside the ``with`` block; spikes do not change.

    Neurons with ``NoFloor()`` keep it.

    Raises:
        TypeError: the floor is not one, or is ``NoFloor()``, which would change spikes.
    """
    if not isinstance(floor, Floor) or isinstance(floor, NoFloor):
        raise TypeError(f"floor: got {floor!r}; expected a floor with the same spikes, such as LeakyFloor(0.1).")
    holders = [module for module in network.modules() if isinstance(getattr(module, "floor", None), Floor)]
    before = [(module, module.floor) for module in holders if not isinstance(module.floor, NoFloor)]
    for module, _ in before:
        module.floor = floor  # type: ignore[assignment]
    try:
        yield
    finally:
        for module, own in before:
            module.floor = own
