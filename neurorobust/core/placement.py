"""Placement of a network's parameters on a chip: cores, neurons, synapses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from .equations import Equations
from .params import Params, Sites, kind_of
from .pattern import Pattern
from .turns import turn

HOST = -1
"""The core of a layer that is not on the chip but computed on the host computer."""
CORES = 2**31
"""The numbers of cores are below it."""


@dataclass(frozen=True)
class Placement:
    """The site of every element of every parameter.

    Attributes:
        cores: core of each neuron, by layer, shape (n,); ``HOST`` for a layer off the chip.
        index: for a parameter that is set once per core (or layer) but deviates on every neuron,
            the entry of the nominal tensor that each neuron reads, shape (n,).
        masks: connectivity of each weight, True where a synapse exists.
        feeds: the target layer of a module's synapses, where its name does not give it (``{"0": "1"}``).
        convolutions: for a parameter that all positions of a convolution share, a function that makes the ``index`` of
            the unrolled convolution: the entry of the kernel that each synapse reads, (n, n_in), −1 for no synapse.
        equations: of the neurons of each layer, where they are known; a chip compares them with its own.
        arrays: weights that are one matrix each, (n_out, …), of modules without cores, such as ``nn.Linear`` in a
            wrapped module. A crossbar gives each of them arrays of its own.
        numbers: of the neurons of each layer on their cores, (n,), where they were chosen; else layers fill a core one
            after the other. All layers that share a core have numbers, or none.
        unplaced: the number of neurons of each layer that could be placed but is not: ``model.place`` was not called.
        patterns: of weights (k,) that hold existing synapses only, where these are.

    Example:
        >>> tau, core = torch.tensor([0.01, 0.02]), torch.tensor([0, 0, 1])  # one time constant for each of two cores
        >>> layer = nr.neurons.Lif(nr.nn.Linear(torch.ones(3, 2)), core=core, tau_mem=tau, v_threshold=1.0)
        >>> placement = nr.Network({"cells": layer}, dt=1e-3).placement()
        >>> placement.cores["cells"].tolist(), placement.index["cells.tau_mem"].tolist()
        ([0, 0, 1], [0, 0, 1])
    """

    cores: Mapping[str, Tensor] = field(default_factory=dict)
    index: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    feeds: Mapping[str, str] = field(default_factory=dict)
    convolutions: Mapping[str, Callable[[], Tensor]] = field(default_factory=dict)
    equations: Mapping[str, Equations] = field(default_factory=dict)
    arrays: tuple[str, ...] = ()
    numbers: Mapping[str, Tensor] = field(default_factory=dict)
    unplaced: Mapping[str, int] = field(default_factory=dict)
    patterns: Mapping[str, Pattern] = field(default_factory=dict)

    def prefixed(self, prefix: str) -> Placement:
        """The same placement for a network inside another module, where every name begins with ``prefix``."""
        return Placement(
            cores={(prefix + name).rstrip("."): core for name, core in self.cores.items()},
            index={prefix + name: index for name, index in self.index.items()},
            masks={prefix + name: mask for name, mask in self.masks.items()},
            feeds={prefix + name: prefix + layer for name, layer in self.feeds.items()},
            convolutions={prefix + name: make for name, make in self.convolutions.items()},
            equations={prefix + name: equations for name, equations in self.equations.items()},
            arrays=tuple(prefix + name for name in self.arrays),
            numbers={prefix + name: numbers for name, numbers in self.numbers.items()},
            unplaced={prefix + name: n for name, n in self.unplaced.items()},
            patterns={prefix + name: pattern for name, pattern in self.patterns.items()},
        )

    def layer(self, name: str) -> str | None:
        """The placed layer of a parameter: the longest prefix of its name that is a layer or feeds one."""
        parts = name.split(".")
        for end in range(len(parts) - 1, -1, -1):
            module = ".".join(parts[:end])
            module = self.feeds.get(module, module)
            if module in self.cores:
                return module
        return None

    def core(self, name: str) -> Tensor | None:
        """The core of each neuron of a parameter's layer, shape (n,); None where the layer is not placed."""
        layer = self.layer(name)
        return None if layer is None else self.cores[layer]

    def on_chip(self, name: str) -> bool:
        """True if any neuron of a parameter's layer is placed on a core of the chip."""
        core = self.core(name)
        return core is not None and bool((core != HOST).any())

    def on_host(self, name: str) -> bool:
        """True if a parameter's layer is computed on the host; False where it is on the chip, or not placed."""
        core = self.core(name)
        return core is not None and bool((core == HOST).all())

    @cached_property
    def numbering(self) -> dict[str, Sites]:
        """The core of every neuron and its number on that core, by layer. Where no ``numbers`` were chosen, layers fill
        a core one after the other."""
        taken: dict[int, int] = {}
        result = {}
        for layer, tensor in self.cores.items():
            core = tensor.cpu()
            number = torch.empty_like(core)
            for which in core.unique().tolist():
                here = core == which
                first, count = taken.get(which, 0), int(here.sum())
                number[here] = first + torch.arange(count)
                taken[which] = first + count
            result[layer] = Sites(core, self.numbers.get(layer, number))
        return result

    def occupied(self) -> dict[int, int]:
        """The number of neurons on each core of the chip, by core, in ascending order."""
        counts = Counter(core for sites in self.numbering.values() for core in sites.core.tolist() if core != HOST)
        return dict(sorted(counts.items()))

    def sites(self, name: str, values: Tensor) -> Sites | None:
        """The site of the neuron that each row of an expanded parameter belongs to.

        The rows are the first dimension; a value per neuron may also stand on the grid of its neurons, (C, H, W), and
        the synapses of a pattern are rows. None where the parameter sits at no neuron: its layer is not placed, or many
        neurons share it (a convolution's kernel).
        """
        layer = self.layer(name)
        if layer is None:
            return None
        sites = self.numbering[layer]
        n = len(sites.core)
        if (pattern := self.patterns.get(name)) is not None:
            target = pattern.targets.cpu()
            return Sites(sites.core[target], sites.number[target]) if pattern.shape[0] == n else None
        rows = bool(values.ndim) and len(values) == n
        grid = kind_of(name) != "weight" and values.numel() == n
        return sites if rows or grid else None

    def on_core(self, name: str, values: Tensor, core: int) -> Tensor:
        """True for the elements of an expanded parameter that exist on a core, in its shape.

        Raises:
            ValueError: the parameter sits at no neuron; see :meth:`sites`.
        """
        sites = self.sites(name, values)
        if sites is None:
            raise ValueError(f"{name}: sits at no neuron, so none of it is on core {core}.")
        here = (sites.core == core).to(values.device)
        if values.numel() == len(here):
            here = here.reshape(values.shape)
        else:
            here = here.reshape(-1, *[1] * (values.ndim - 1)).expand(values.shape)
        mask = self.masks.get(name)
        return here if mask is None else here & mask

    def rows(self, name: str, values: Tensor) -> int:
        """The number of rows of an expanded parameter: of a pattern, the neurons that its synapses end on."""
        if (pattern := self.patterns.get(name)) is not None:
            return pattern.shape[0]
        return len(values) if values.ndim else 1

    def by_neuron(self, name: str, values: Tensor, like: Tensor) -> Tensor:
        """One value per neuron (n,) in a shape that multiplies an expanded parameter ``like`` of theirs."""
        if (pattern := self.patterns.get(name)) is not None:
            return values[pattern.targets.to(values.device)]
        return values.reshape(like.shape if len(values) == like.numel() else (-1, *[1] * (like.ndim - 1)))

    def synapses(self, layer: str, rows: int) -> Iterator[tuple[str, Tensor]]:
        """(weight, mask of shape (rows, inputs)) of the synapses that end on a layer's neurons, input synapses first;
        kernels that many neurons share are left out. Of a pattern, the mask is made."""
        for name, own in self._ending_on(layer, rows):
            yield name, own.mask() if isinstance(own, Pattern) else own

    def _ending_on(self, layer: str, rows: int) -> Iterator[tuple[str, Tensor | Pattern]]:
        """:meth:`synapses` as masks and patterns."""
        for name, mask in self.masks.items():
            if self.rows(name, mask) == rows and self.layer(name) == layer:
                yield name, self.patterns[name] if name in self.patterns else mask.reshape(rows, -1)

    def fan_in(self, layer: str) -> Tensor:
        """The number of synapses of each neuron of a layer, (n,)."""
        core = self.cores[layer]
        return sum((_fan_in(own) for _, own in self._ending_on(layer, len(core))), torch.zeros_like(core))

    def n_in(self, layer: str) -> int:
        """The number of inputs of a layer that has weights: those of the first one; else 0."""
        for _, own in self._ending_on(layer, len(self.cores[layer])):
            return own.shape[1]
        return 0

    def slots(self, name: str, values: Tensor) -> Tensor:
        """The number of every synapse among those of its neuron, (rows, inputs); −1 where there is none. Of a pattern,
        every synapse is a row, (k, 1).

        A neuron's synapses are counted over all its weights, in the order of :meth:`synapses`. A weight that sits at
        no neuron or has no mask is counted separately, and its absent synapses are counted too.
        """
        rows, pattern = self.rows(name, values), self.patterns.get(name)
        mask, layer = self.masks.get(name), self.layer(name) if self.sites(name, values) is not None else None
        if pattern is not None and layer is None:
            return pattern.sources.cpu()[:, None]
        if layer is None or mask is None:
            slots = torch.arange(values.numel() // max(rows, 1)).expand(rows, -1)
            return slots if mask is None else torch.where(mask.cpu().reshape(rows, -1), slots, -1)
        before = torch.zeros(rows, dtype=torch.long)
        for other, own in self._ending_on(layer, rows):
            if other != name:
                before = before + _fan_in(own).cpu()
            elif isinstance(own, Pattern):
                return (before[own.targets.cpu()] + own.slots().cpu())[:, None]
            else:
                present = own.cpu()
                return torch.where(present, before[:, None] + present.cumsum(1) - 1, -1)
        raise AssertionError(name)


def _fan_in(synapses: Tensor | Pattern) -> Tensor:
    """The number of synapses of each neuron."""
    return synapses.fan_in() if isinstance(synapses, Pattern) else synapses.sum(1)


NOWHERE = Placement()


def placement_of(network: nn.Module) -> Placement:
    """The placement of any network: its ``placement()``, or an empty one without that method.

    Example:
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> placement = nr.nn.placement_of(network)
        >>> placement.cores["hidden"].bincount().tolist(), placement.on_host("readout")
        ([32, 32, 32, 32], False)
    """
    placement = getattr(type(network), "placement", None)
    with turn(network):
        return NOWHERE if placement is None else placement(network)


def expand(params: Mapping[str, Tensor], placement: Placement) -> Params:
    """One value per neuron or synapse: a value per core is copied to all its neurons. Parameters with one value
    per neuron do not change, so the parameters of a die can be expanded again."""
    return {
        name: unrolled(value, placement.index[name])
        if name in placement.index and value.shape != placement.index[name].shape
        else value
        for name, value in params.items()
    }


def unrolled(value: Tensor, index: Tensor) -> Tensor:
    """The entries of a tensor that an index names; 0 where it is −1."""
    read = value.reshape(-1)[index.clamp(min=0)]
    return read if index.ndim < 2 else read * (index >= 0)
