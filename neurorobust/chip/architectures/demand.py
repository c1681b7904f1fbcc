"""Demand of a network on a chip: the neurons of each layer, their synapses, and what the chip sets once per core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Cores = Mapping[str, Tensor]
"""The core of each neuron, (n,), by layer."""


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapses from one source into a layer.

    Attributes:
        source: a layer, or ``"x"`` for the input of the network. present: True where a synapse exists, (n, n_source).
    """

    source: str
    present: Tensor


@dataclass(frozen=True, eq=False)
class LayerDemand:
    """Demand of one layer.

    Attributes:
        n: number of neurons. synapses: into them, from every source.
        settings: what the chip sets once per core, one value for each neuron, (n,), by name.
        kernel: (output channels, rows) of a convolution that the chip holds once; None for a layer without.
    """

    n: int
    synapses: tuple[Synapses, ...]
    settings: Mapping[str, Tensor] = field(default_factory=dict)
    kernel: tuple[int, int] | None = None

    def fan_in(self) -> Tensor:
        """The number of inputs of each neuron, (n,)."""
        if self.kernel is not None:
            return torch.full((self.n,), self.kernel[1])
        return sum((part.present.sum(1) for part in self.synapses), torch.zeros(self.n, dtype=torch.long))


Demand = Mapping[str, LayerDemand]
"""Demand of a network, by layer on the chip."""


def receivers(demand: Demand, cores: Cores, n_cores: int) -> dict[str, Tensor]:
    """For every source, on which cores each of its elements has a synapse, (n_cores, n_source)."""
    found: dict[str, Tensor] = {}
    for layer, asked in demand.items():
        for part in asked.synapses:
            arrives = found.setdefault(part.source, torch.zeros(n_cores, part.present.shape[1], dtype=torch.bool))
            for core in cores[layer].unique().tolist():
                arrives[core] |= part.present[cores[layer] == core].any(0)
    return found


def fan_out(demand: Demand) -> dict[str, Tensor]:
    """The number of synapses that each element of every source drives, (n_source,)."""
    found: dict[str, Tensor] = {}
    for asked in demand.values():
        for part in asked.synapses:
            found[part.source] = found.get(part.source, 0) + part.present.sum(0)
    return found
