"""Cores of neurons with a content-addressable memory each, as DYNAP-SE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .architecture import Architecture, Route, Used, Violation, over_fan_in
from .demand import Cores, Demand


@dataclass(frozen=True)
class Cam(Architecture):
    """Each neuron listens to the tags in its ``entries``: one synapse an entry.

    Attributes:
        entries: synapses of a neuron. destinations: chips that a neuron reaches; one entry reaches all cores of a chip
            by its mask, so fan-out on one chip is free. tags: number of addresses; one has to be unique only among the
            sources that a core hears.

    Example:
        >>> import chipmodels
        >>> budget = chipmodels.load("dynapse2").architecture
        >>> budget.cores, budget.neurons, budget.entries  # 64 synapses a neuron
        (4, 256, 64)
    """

    entries: int
    destinations: int
    tags: int

    def limits(self) -> dict[str, int]:
        return {
            "cores": self.cores,
            "neurons_per_core": self.neurons,
            "fan_in": self.entries,
            "fan_out": self.destinations,
            "tags": self.tags,
        }

    def check_demand(self, demand: Demand) -> Iterator[Violation]:
        yield from over_fan_in(demand, self.entries, "entries")

    def check_places(self, demand: Demand, cores: Cores) -> Iterator[Violation]:
        yield from super().check_places(demand, cores)
        if all(bool(((places >= 0) & (places < self.cores)).all()) for places in cores.values()):
            used = self._tags(demand, cores)
            if used > self.tags:
                yield Violation(
                    "tags",
                    "the network",
                    f"{used}, so that no core hears two sources with one tag",
                    f"there are {self.tags}",
                    f"use {used - self.tags} inputs or neurons fewer",
                )

    def usage(self, demand: Demand, cores: Cores) -> list[Used]:
        return [*super().usage(demand, cores), Used("tags", self._tags(demand, cores), self.tags)]

    def _tags(self, demand: Demand, cores: Cores) -> int:
        return 1 + max((route.tag or 0 for route in self.routes(demand, cores)), default=-1)

    def routes(self, demand: Demand, cores: Cores) -> list[Route]:
        """One tag for every source. Sources that more cores receive are numbered first; each gets the lowest tag
        that is free on all of its cores. For up to four cores no assignment needs fewer tags."""
        plain = super().routes(demand, cores)
        taken = torch.zeros(self.cores, len(plain), dtype=torch.bool)
        tags: dict[tuple[str, int], int] = {}
        by_cores: dict[tuple[int, ...], list[Route]] = {}
        for route in plain:
            by_cores.setdefault(route.cores, []).append(route)
        for where in sorted(by_cores, key=lambda cores: (-len(cores), cores)):
            free = (~taken[list(where)].any(0)).nonzero().flatten()[: len(by_cores[where])]
            for core in where:
                taken[core, free] = True
            tags.update({route[:2]: tag for route, tag in zip(by_cores[where], free.tolist())})
        return [route._replace(tag=tags[route[:2]]) for route in plain]
