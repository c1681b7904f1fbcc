"""Where the elements of a network's parameters sit on a chip: cores, neurons, synapses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from .params import Params


@dataclass(frozen=True)
class Placement:
    """Where every element of every parameter sits.

    Attributes:
        cores: core of each neuron, by layer, shape (n,); ``HOST`` where a layer is computed off the chip.
        index: for a parameter that is set once per core (or layer) but deviates on every neuron,
            the entry of the nominal tensor that each neuron reads, shape (n,).
        masks: connectivity of each weight, True where a synapse exists.
        feeds: the layer whose neurons a module's synapses end on, where its name does not say so (``{"0": "1"}``).
        kernels: for a parameter that all positions of a convolution share, what makes the ``index`` with which every
            neuron has synapses of its own: the entry of the kernel each reads, (n, n_in), −1 where there is none.
    """

    cores: Mapping[str, Tensor] = field(default_factory=dict)
    index: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    feeds: Mapping[str, str] = field(default_factory=dict)
    kernels: Mapping[str, Callable[[], Tensor]] = field(default_factory=dict)

    def layer(self, name: str) -> str | None:
        """The placed layer a parameter belongs to: the longest leading part of its name that is one or feeds one."""
        parts = name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            module = ".".join(parts[:end])
            module = self.feeds.get(module, module)
            if module in self.cores:
                return module
        return None

    def core(self, name: str) -> Tensor | None:
        """The core of each neuron a parameter belongs to, shape (n,); None where its layer is not placed."""
        layer = self.layer(name)
        return None if layer is None else self.cores[layer]


HOST = -1
"""The core of a layer that is not on the chip but computed on the host computer."""


NOWHERE = Placement()


def expand(params: Mapping[str, Tensor], placement: Placement) -> Params:
    """One value per neuron or synapse: what was set once per core is copied to each of its neurons; what has one value
    per neuron already stays as it is, so a die can deviate again."""
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
