"""Crossbars: tiles of memory cells that multiply, with digital neurons and digital sums beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .architecture import Architecture, Placed, Used, Violation
from .demand import Cores, Demand, receivers


@dataclass(frozen=True)
class Tiles(Architecture):
    """``cores`` tiles of ``rows`` × ``neurons`` cells: a column adds up what its neuron takes from the rows.

    A group of at most ``neurons`` neurons has the columns of one tile, and one scale of its weights. If the group takes
    more inputs than a tile has rows, further tiles hold the other rows, and the partial sums of a column are added
    digitally. So any matrix fits, as long as there are tiles. A convolution's kernel is held once, as a matrix of
    output channels × rows. In a placement, the number of a "core" is that of a group.

    Attributes:
        rows: of a tile. Its columns are ``neurons``.

    Example:
        >>> import chipmodels
        >>> budget = chipmodels.load("hermes").architecture
        >>> budget.cores, budget.rows, budget.neurons
        (64, 256, 256)
    """

    rows: int

    def limits(self) -> dict[str, int]:
        return {"cores": self.cores, "neurons_per_core": self.neurons, "fan_in": self.rows}

    def most_inputs(self) -> int | None:
        return None

    def check_demand(self, demand: Demand) -> Iterator[Violation]:
        return iter(())

    def check_places(self, demand: Demand, cores: Cores) -> Iterator[Violation]:
        unrolled = {name: places for name, places in cores.items() if demand[name].kernel is None}
        yield from super().check_places(demand, unrolled)
        for name in cores.keys() - unrolled.keys():
            if len(cores[name].unique()) > 1:
                yield Violation("kernel", f"layer {name!r}", "several groups", "one group holds it", "use one core")
        if any(int(places.min()) < 0 for places in cores.values()):
            return
        taken = self.tiles(demand, cores)
        if len(taken) > self.cores:
            hint = self._chips(-(-len(taken) // self.cores))
            yield Violation("tiles", "the network", str(len(taken)), f"a chip has {self.cores}", hint)

    def place(self, demand: Demand, tolerance: float) -> Placed:
        """Every layer gets groups of its own, in order."""
        cores: dict[str, Tensor] = {}
        first = 0
        for name, asked in demand.items():
            number = torch.arange(asked.n) // self.neurons
            cores[name] = first + (number if asked.kernel is None else torch.zeros_like(number))
            first = int(cores[name].max()) + 1
        broken = tuple(found for found in self.check_places(demand, cores) if found.limit != "cores")
        return Placed({} if broken else cores, (), broken)

    def tiles(self, demand: Demand, cores: Cores) -> list[tuple[int, int, int]]:
        """(group, columns used, rows used) of every tile."""
        n = 1 + max((int(places.max()) for places in cores.values()), default=-1)
        columns, rows = [0] * n, [0] * n
        for name, places in cores.items():
            kernel = demand[name].kernel
            if kernel is not None:
                columns[int(places[0])] += kernel[0]
                rows[int(places[0])] += kernel[1]
                continue
            for core, count in zip(*(part.tolist() for part in places.unique(return_counts=True))):
                columns[core] += count
        dense = {name: asked for name, asked in demand.items() if asked.kernel is None}
        for where in receivers(dense, cores, n).values():
            rows = [taken + more for taken, more in zip(rows, where.sum(1).tolist())]
        return [
            (group, min(self.neurons, columns[group] - left), min(self.rows, rows[group] - top))
            for group in range(n)
            for left in range(0, columns[group], self.neurons)
            for top in range(0, max(rows[group], 1), self.rows)
        ]

    def usage(self, demand: Demand, cores: Cores) -> list[Used]:
        taken = self.tiles(demand, cores)
        fan_in = max((int(asked.fan_in().max()) for asked in demand.values() if asked.n), default=0)
        cells = sum(columns * rows for _, columns, rows in taken)
        return [
            Used("tiles", len(taken), self.cores),
            Used("cells", cells, self.cores * self.rows * self.neurons),
            Used("inputs of a neuron", fan_in, None),
        ]
