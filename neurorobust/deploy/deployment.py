"""A network as one chip gets it: places, codes, settings, routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..chip import ChipModel, Programmed, Violation
from ..chip.architectures import Demand, Route
from ..chip.encodings import Multiplicity
from ..core.apply import apply
from ..core.params import Params
from ..nn.network import Network
from .lowering import structure_violations, value_violations
from .report import Report
from .writing import entry_of, write


@dataclass(frozen=True, eq=False)
class Deployment:
    """A network on one chip; made by :func:`neurorobust.deploy.onto` or read by :func:`neurorobust.deploy.load`.

    No board is attached to it. It is what a driver of a board would be given.

    Attributes:
        chip: the chip model.
        network: with the values that the chip holds and the cores that its neurons are on; one value per neuron of each
            parameter, and synapses as Linear or OneToOne. Its parameters are those of ``programmed``. A wrapped module
            or an snnTorch network, on a crossbar, keeps its own form.
        programmed: codes, gains and values.
        demand: what the network asks of the chip. cores: of each neuron, by layer on the chip.
        report: what it uses and what changed; print it.
        source: SHA-256 of the network that was deployed: its tensors and its structure.
    """

    chip: ChipModel
    network: nn.Module
    programmed: Programmed
    demand: Demand
    cores: Mapping[str, Tensor]
    report: Report
    source: str

    @cached_property
    def routes(self) -> list[Route]:
        """Where the events of every input and every neuron go."""
        assert self.chip.architecture is not None
        return self.chip.architecture.routes(self.demand, self.cores)

    def check(self) -> list[Violation]:
        """Every limit that it breaks: none, unless the chip model was changed."""
        architecture, on_chip = self.chip.architecture, tuple(self.cores)
        assert architecture is not None
        broken: list[Violation] = []
        if isinstance(self.network, Network):
            broken += structure_violations(self.network, self.chip, on_chip)
            broken += value_violations(self.network.layers(), on_chip, self.chip, self.network.dt)
        broken += [*architecture.check_demand(self.demand), *architecture.check_places(self.demand, self.cores)]
        return broken + list(self._too_many_entries())

    def _too_many_entries(self) -> Iterator[Violation]:
        """Neurons whose weights take more entries than there are, where a weight is a number of synapses."""
        assert self.chip.architecture is not None
        limit = self.chip.architecture.limits().get("fan_in")
        codecs = [held.codec for (kind, _), held in self.programmed.held.items() if kind == "weight"]
        if limit is None or not any(isinstance(codec, Multiplicity) for codec in codecs):
            return
        for layer, asked in self.demand.items():
            parts = [
                self.programmed.codes[name].abs().reshape(asked.n, -1).sum(1)
                for name in self.programmed.codes
                if name.startswith(f"{layer}.") and name.endswith("weight")
            ]
            taken = sum(parts, torch.zeros(asked.n, dtype=torch.long))
            if int(taken.max()) > limit:
                worst = int(taken.argmax())
                got = f"{int(taken[worst])} entries of neuron {worst}"
                yield Violation("fan_in", f"layer {layer!r}", got, f"a neuron has {limit}", "prune its inputs")

    def dies(self, serials: Sequence[int], seed: int = 1) -> Iterator[Params]:
        """The parameters of the deployed network on dies of the chip, for ``nr.run(deployment.network, params, x)``.

        Dies of a seed and serial are the same as in :func:`neurorobust.evaluate`. Serials and seed are checked at once;
        each die is computed when it is asked for.
        """
        fleet = self.chip.fabricate(serials, seed)
        return (
            apply(self.programmed.params, die.deviations(self.programmed), self.programmed.placement) for die in fleet
        )

    def save(self, path: str | Path) -> Path:
        """Write the deployment file: one JSON, whole or not at all. See :func:`neurorobust.deploy.load`."""
        return write(Path(path), self.entry())

    def entry(self) -> dict[str, Any]:
        """The content of the deployment file, without its digest. Raises ValueError for a network whose code is
        foreign: no file can hold it."""
        if not isinstance(self.network, Network):
            raise ValueError(
                f"network: a {type(self.network).__name__} is code, which a deployment file cannot hold; save it with "
                f"nr.save and deploy it again: the same network gives the same deployment."
            )
        return entry_of(self.chip, self.network, self.programmed, self.cores, self.routes) | {
            "report": self.report.entry(),
            "source": self.source,
        }

    def __repr__(self) -> str:
        n = sum(asked.n for asked in self.demand.values())
        return f"Deployment({n} neurons on {self.chip.name}, {', '.join(self.cores)})"
