"""Logits of one network on many dies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .. import kernels
from ..core.noise import INPUT as INPUT
from ..core.params import Params
from ..core.run import forward
from ..core.turns import turn
from ..kernels.runtime import memory
from .decoders import DECODERS
from .network import Network

DIES_AT_ONCE, OUTPUTS = 16, 2**26  # in one compiled loop at most: dies, and numbers of their outputs
ABREAST, FEW = 8, 4  # dies side by side in one loop at most, and at least for it to be faster than one after the other
SAMPLES = 250  # in one pass without the compiled loop
BYTES = 2**28  # of the samples of one pass at most
SIDE_BY_SIDE, SEQUENCES = 4, 4  # with gradient: dies in one pass at most, and arrays (all neurons, all steps) it keeps
SHARE = 8  # the outputs of a compiled loop take at most this part of the free memory: 1/8


def samples_at_once(x: Tensor, most: int = SAMPLES) -> int:
    """The number of samples in one pass: ``most``, or as many as fit into 256 MiB; if these are more than 250, a
    multiple of it. It depends on the shape of a sample x[0] alone, so results have the same bits on every machine."""
    fit = BYTES // max(1, x[:1].numel() * x.element_size())
    if fit >= most:
        return most
    return max(1, fit - fit % SAMPLES if fit > SAMPLES else fit)


class _Plan(nn.Module):
    """A network's plan as the forward pass of a module, so that it can be computed at other parameters."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self) -> Sequence[kernels.AnyLayer] | None:
        return self.network.mixed_plan()

    def at(self, die: Params) -> Sequence[kernels.AnyLayer]:
        """The plan at the parameters of a die."""
        return functional_call(self, {f"network.{name}": value for name, value in die.items()}, (), strict=False)


@torch.no_grad()
def fleet_logits(network: nn.Module, dies: Iterable[Params], x: Tensor) -> Iterator[Tensor]:
    """Logits of a network on each of many dies, one after the other; no gradient.

    LIF layers and convolutions on the CPU, see :meth:`Network.mixed_plan`, go through one compiled loop for several
    dies, as many as fit into free memory. So do sparse networks with :class:`LinearizedDpi` through another, see
    :func:`neurorobust.kernels.fits_lanes`. Their number does not change the logits. Any other network runs die by die.

    Args:
        network: in the mode in which it has to run, ``train`` or ``eval``.
        dies: all parameters of each die, such as :func:`neurorobust.apply` returns; may be a generator.
        x: input, batch first.
    """
    others = iter(dies)
    held = list(islice(others, 1))
    while held:
        yield from _logits_of_alike(network, held, others, x)


def _logits_of_alike(network: nn.Module, held: list[Params], others: Iterator[Params], x: Tensor) -> Iterator[Tensor]:
    """:func:`fleet_logits` of those that :func:`_alike` takes."""
    layers = None
    if isinstance(network, Network):
        with turn(network):
            layers = _Plan(network).at(held[0])
    dies = _alike(held, others)
    if not isinstance(network, Network) or layers is None:
        yield from _one_by_one(network, dies, x)
    elif all(isinstance(layer, kernels.LifLayer) for layer in layers):
        network.check(x)
        yield from _in_one_loop(network, dies, x)
    elif kernels.fits_lanes(layers) and bool(x.isfinite().all()):
        network.check(x)
        yield from _abreast(network, dies, x)
    else:
        yield from _one_by_one(network, dies, x)


def _alike(held: list[Params], others: Iterator[Params]) -> Iterator[Params]:
    """The die in the list and those behind it whose tensors have its shapes; the next other one is left in the list.
    Before the dies of a chip without kernels comes the network itself, which has them."""
    shapes = [value.shape for value in held[0].values()]
    while held and [value.shape for value in held[0].values()] == shapes:
        yield held.pop()
        held += islice(others, 1)


def _one_by_one(network: nn.Module, dies: Iterable[Params], x: Tensor) -> Iterator[Tensor]:
    cached = kernels.CachedEvents(x)
    for die in dies:
        with cached:  # and closed before anything is handed out
            outputs = torch.cat([forward(network, die, block)[0] for block in x.split(samples_at_once(x))])
        yield outputs
        del outputs


def _in_one_loop(network: Network, dies: Iterator[Params], x: Tensor) -> Iterator[Tensor]:
    """Several dies of LIF layers through one loop."""
    whole, cached = _Plan(network), kernels.CachedEvents(x)
    for some in _together(network, dies, x, DIES_AT_ONCE):
        with turn(network):
            plans = [cast(Sequence[kernels.LifLayer], whole.at(die)) for die in some]
        with cached:  # and closed before anything is handed out
            outputs = kernels.fleet_outputs(plans, x)
        for output in outputs:
            yield network.decode(output.transpose(0, 1))
        del some, plans, outputs, output  # before the next are made


def _abreast(network: Network, dies: Iterator[Params], x: Tensor) -> Iterator[Tensor]:
    """Several dies side by side through one loop: bit for bit what they give one by one."""
    whole, cached, blocks = _Plan(network), kernels.CachedEvents(x), x.split(samples_at_once(x))
    for some in _together(network, dies, blocks[0], ABREAST):
        if len(some) < FEW:
            yield from _one_by_one(network, some, x)
            continue
        with turn(network):
            plans = [whole.at(die) for die in some]
        with cached:
            outputs = kernels.lane_outputs(plans, blocks)
            parts = [[network.decode(output.transpose(0, 1)) for output in block] for block in outputs]
        yield from map(torch.cat, zip(*parts))
        del some, plans, parts


def _together(network: Network, dies: Iterator[Params], x: Tensor, most: int) -> Iterator[list[Params]]:
    """Dies whose outputs for x fit into the memory of one loop, at most so many."""
    outputs = x.shape[0] * x.shape[1] * network.layers()[network.names[-1]].n
    for first in dies:
        size = x.element_size() * (outputs + sum(value.numel() for value in first.values()))
        count = max(1, min(most, OUTPUTS // outputs, memory.available() // (SHARE * size)))
        some = [first, *islice(dies, count - 1)]
        del first
        yield some
        del some


def side_by_side(network: nn.Module, x: Tensor) -> int:
    """The number of dies in one differentiated pass under ``torch.func.vmap``.

    This number must not change the bits of logits and gradients. So it is one, unless
    :meth:`Network.plan` can run the network, its decoder is one of this module, and no layer after the first is large
    enough to choose between sparse and dense products: that choice depends on the spike rate of all dies. In that
    case it is as many as fit into the memory that is kept between passes.
    """
    plan = network.plan() if isinstance(network, Network) and network.decode in DECODERS else None
    if plan is None or any(layer.weight.shape[0] > kernels.SKINNY and max(layer.sources) >= 0 for layer in plan):
        return 1
    sequence = x.element_size() * x.shape[0] * x.shape[1] * sum(layer.weight.shape[0] for layer in plan)
    return max(1, min(SIDE_BY_SIDE, memory.KEPT // (SEQUENCES * sequence)))
