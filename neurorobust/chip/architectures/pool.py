"""A pool of neurons behind shared synaptic filters, as Braindrop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .architecture import Architecture, Used, Violation, over_fan_in
from .demand import Cores, Demand


@dataclass(frozen=True)
class Pool(Architecture):
    """Neurons take their inputs through filters that they share.

    Attributes:
        filters: of all neurons together. tags: addresses, one for each neuron and each input.

    Example:
        >>> import chipmodels
        >>> budget = chipmodels.load("braindrop").architecture
        >>> budget.neurons, budget.filters
        (4096, 1024)
    """

    filters: int
    tags: int

    def limits(self) -> dict[str, int]:
        return {
            "cores": self.cores,
            "neurons_per_core": self.neurons,
            "fan_in": self.filters,
            "tags": self.tags,
        }

    def check_demand(self, demand: Demand) -> Iterator[Violation]:
        yield from over_fan_in(demand, self.filters, "filters")
        if (tags := _sources(demand)) > self.tags:
            hint = f"use {tags - self.tags} inputs or neurons fewer"
            yield Violation("tags", "the network", f"{tags} inputs and neurons", f"there are {self.tags}", hint)

    def usage(self, demand: Demand, cores: Cores) -> list[Used]:
        return [*super().usage(demand, cores), Used("tags", _sources(demand), self.tags)]


def _sources(demand: Demand) -> int:
    """The number of neurons and of inputs of the network."""
    inputs = {
        part.source: part.present.shape[1]
        for asked in demand.values()
        for part in asked.synapses
        if part.source not in demand
    }
    return sum(asked.n for asked in demand.values()) + sum(inputs.values())
