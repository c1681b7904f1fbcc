"""Convolutions on a chip: one kernel on a crossbar, or unrolled: separate synapses for every neuron; and matrices of
modules without neurons, which a crossbar holds in arrays of their own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..core.params import Params, kind_of
from ..core.placement import Placement
from .design import ChipDesign
from .limits import check_cores


def place_convolutions(chip: ChipDesign, analog: Params, placement: Placement) -> Placement:
    """The placement with convolutions and matrices as the chip holds them; other parameters do not move."""
    if not chip.needs_placement:
        return placement
    if chip.shares_kernels:
        placement = place_arrays(chip, analog, placement)
    shared = [
        name
        for name, mask in placement.masks.items()
        if kind_of(name) == "weight" and placement.on_chip(name) and placement.sites(name, mask) is None
    ]
    return _columns(chip, placement, shared) if chip.shares_kernels else _unrolled(chip, analog, placement, shared)


def place_arrays(chip: ChipDesign, analog: Params, placement: Placement) -> Placement:
    """Each matrix that has no place gets groups of columns of its own, in order, behind all cores that are in use."""
    cores, masks = dict(placement.cores), dict(placement.masks)
    first = 1 + max((int(core.max()) for core in cores.values()), default=-1)
    for name in placement.arrays:
        if name not in analog or placement.layer(name) is not None:
            continue
        n = len(analog[name])
        own = first + torch.arange(n) // (chip.limits.neurons_per_core or n)
        cores[name.rpartition(".")[0]], masks[name], first = (
            own,
            torch.ones_like(analog[name], dtype=torch.bool),
            int(own[-1]) + 1,
        )
    return replace(placement, cores=cores, masks=masks)


def _columns(chip: ChipDesign, placement: Placement, shared: list[str]) -> Placement:
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
                f"{name}: layer {layer!r} has a kernel and a further weight; {chip.name} holds one array per "
                f"layer. Give the other weight a separate layer."
            )
        cores[layer] = core[:1].expand(rows)
    return replace(placement, cores=cores)


def _unrolled(chip: ChipDesign, analog: Params, placement: Placement, shared: list[str]) -> Placement:
    """Separate synapses for every neuron."""
    if not shared:
        return placement
    check_cores(chip, placement)
    index: dict[str, Tensor] = dict(placement.index)
    masks: dict[str, Tensor] = dict(placement.masks)
    layers = {placement.layer(name) for name in shared}
    for name in shared:
        if name not in placement.convolutions:
            foreign = name.rpartition(".")[0] in placement.feeds
            way = (
                "in an snnTorch network. nr.deploy.adapt(model, chip, task) makes a network of the chip's neurons, "
                "whose kernels can be unrolled; nr.deploy.translated(model) keeps its neurons"
                if foreign
                else "behind pooling. Use a stride instead of pooling, or a Linear layer"
            )
            raise ValueError(
                f"{name}: {chip.name} holds one weight per synapse of a neuron, and a kernel cannot be unrolled {way}."
            )
    for name, make in placement.convolutions.items():
        if placement.layer(name) in layers and name in analog:
            index[name] = make()
            if kind_of(name) == "weight":
                masks[name] = index[name] >= 0
    return replace(placement, index=index, masks=masks)
