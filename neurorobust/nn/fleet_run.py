"""Logits of one network on many dies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .. import kernels
from ..core.noise import INPUT as INPUT
from ..core.params import Params
from ..core.run import forward
from ..kernels.runtime import memory
from .decoders import DECODERS
from .network import Network

DIES_AT_ONCE, OUTPUTS = 16, 2**26  # in a compiled loop, if memory allows; numbers it puts out
SAMPLES = 250  # in a pass without one
SIDE_BY_SIDE, SEQUENCES = 4, 4  # dies in a pass with a slope at most; arrays of all neurons' steps it keeps
SHARE = 8  # a compiled loop puts out at most one such part of the memory there is


class _Plan(nn.Module):
    """A network's plan as the forward pass of a module, so that it can be had at other parameters."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self) -> list[kernels.Layer] | None:
        return self.network.plan()


@torch.no_grad()
def fleet_logits(network: nn.Module, dies: Iterable[Params], x: Tensor) -> Iterator[Tensor]:
    """Logits of a network at the parameters of each of many dies, one after the other; no gradient.

    A few dies at a time go through one compiled loop where the network allows it, as many as free memory has room for,
    so the memory it takes does not grow with their number, nor do the logits depend on it; any other network runs die
    by die.

    Args:
        network: in the mode it shall run in.
        dies: all parameters of each die, such as :func:`neurorobust.apply` returns; may be a generator.
        x: input, batch first.
    """
    plan = network.plan() if isinstance(network, Network) else None
    if not isinstance(network, Network) or plan is None:
        for die in dies:
            yield torch.cat([forward(network, die, block)[0] for block in x.split(SAMPLES)])
        return
    network.check(x)
    whole, remaining, cached = _Plan(network), iter(dies), kernels.CachedEvents(x)
    while some := list(islice(remaining, _at_once(network, x))):
        plans = [
            functional_call(whole, {f"network.{name}": value for name, value in die.items()}, (), strict=False)
            for die in some
        ]
        with cached:  # and closed before anything is handed out
            outputs = kernels.fleet_outputs(plans, x)
        for output in outputs:
            yield network.decode(output.transpose(0, 1))
        del some, plans, outputs, output  # before the next are made


def _at_once(network: Network, x: Tensor) -> int:
    """How many dies, with what they put out for x, fit into the memory that a loop may fill; at most DIES_AT_ONCE."""
    outputs = x.shape[0] * x.shape[1] * network.layers()[network.names[-1]].n
    size = x.element_size() * (outputs + sum(value.numel() for value in network.parameters()))
    return max(1, min(DIES_AT_ONCE, OUTPUTS // outputs, memory.available() // (SHARE * size)))


def side_by_side(network: nn.Module, x: Tensor) -> int:
    """How many dies should go through one pass that is differentiated, together under ``torch.func.vmap``; a die's
    logits and slopes have the same bits in any company.

    One, unless :meth:`Network.plan` knows the network, its decoder is one of this module, and no layer behind another
    is large enough to choose between rows of events and a matrix product, which would go by the rate of all dies. Then
    a few, as long as the memory of what they keep is kept for the next pass.
    """
    plan = network.plan() if isinstance(network, Network) and network.decode in DECODERS else None
    if plan is None or any(len(layer.weight) > kernels.SKINNY and max(layer.sources) >= 0 for layer in plan):
        return 1
    sequence = x.element_size() * x.shape[0] * x.shape[1] * sum(len(layer.weight) for layer in plan)
    return max(1, min(SIDE_BY_SIDE, memory.KEPT // (SEQUENCES * sequence)))
