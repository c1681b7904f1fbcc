"""Where the kernels of convolutions go: once onto a crossbar, or unrolled, every neuron with synapses of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from ..core.params import Params, kind_of
from ..core.placement import HOST, Placement
from .limits import check_cores

if TYPE_CHECKING:
    from .model import ChipModel


def on_chip(chip: ChipModel, analog: Params, placement: Placement) -> Placement:
    """The placement of what the chip holds of convolutions; anything else is where it was."""
    if not chip.places:
        return placement
    shared = [
        name
        for name, mask in placement.masks.items()
        if kind_of(name) == "weight"
        and (core := placement.core(name)) is not None
        and len(mask) != len(core)
        and bool((core != HOST).any())
    ]
    return _columns(chip, placement, shared) if chip.shares_kernels else _unrolled(chip, analog, placement, shared)


def _columns(chip: ChipModel, placement: Placement, shared: list[str]) -> Placement:
    """Each output channel is one column of an array, where its neurons are computed; the columns stand for them."""
    cores = dict(placement.cores)
    for name in shared:
        layer, core = str(placement.layer(name)), placement.core(name)
        assert core is not None
        if bool((core != core[0]).any()):
            raise ValueError(
                f"{name}: one kernel of {chip.name} is on one core; the neurons of layer {layer!r} are on "
                f"{len(core.unique())}. Put them on one."
            )
        rows = len(placement.masks[name])
        if any(len(mask) != rows for other, mask in placement.masks.items() if placement.layer(other) == layer):
            raise ValueError(
                f"{name}: layer {layer!r} has a kernel and another weight of its own; {chip.name} holds one array a "
                f"layer. Give the other one a layer by itself."
            )
        cores[layer] = core[:1].expand(rows)
    return replace(placement, cores=cores)


def _unrolled(chip: ChipModel, analog: Params, placement: Placement, shared: list[str]) -> Placement:
    """Every neuron with synapses of its own."""
    if not shared:
        return placement
    check_cores(chip, placement)
    index: dict[str, Tensor] = dict(placement.index)
    masks: dict[str, Tensor] = dict(placement.masks)
    layers = {placement.layer(name) for name in shared}
    for name in shared:
        if name not in placement.kernels:
            raise ValueError(
                f"{name}: {chip.name} holds one weight for each synapse of a neuron, and this kernel cannot be "
                f"unrolled: it is behind pooling, or in a foreign module. Use a stride instead of pooling, or a "
                f"Linear layer."
            )
    for name, make in placement.kernels.items():
        if placement.layer(name) in layers and name in analog:
            index[name] = make()
            if kind_of(name) == "weight":
                masks[name] = index[name] >= 0
    return replace(placement, index=index, masks=masks)
