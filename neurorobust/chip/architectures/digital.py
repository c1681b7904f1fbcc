"""Digital neurons that are computed one after the other, as Xylo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .architecture import Architecture, Used, Violation, over_fan_in
from .demand import Cores, Demand, fan_out


@dataclass(frozen=True)
class Digital(Architecture):
    """Neurons with a list of targets.

    Attributes:
        entries: synapses of a neuron. targets: synapses that a neuron drives. inputs: channels of the chip.

    Example:
        >>> import chipmodels
        >>> budget = chipmodels.load("xylo").architecture
        >>> budget.neurons, budget.entries, budget.targets
        (1000, 63, 64)
    """

    entries: int
    targets: int
    inputs: int

    def limits(self) -> dict[str, int]:
        return {
            "cores": self.cores,
            "neurons_per_core": self.neurons,
            "fan_in": self.entries,
            "fan_out": self.targets,
        }

    def check_demand(self, demand: Demand) -> Iterator[Violation]:
        yield from over_fan_in(demand, self.entries, "synapses")
        for source, driven in fan_out(demand).items():
            if source not in demand and len(driven) > self.inputs:
                hint = f"use {len(driven) - self.inputs} channels fewer"
                yield Violation("inputs", repr(source), str(len(driven)), f"there are {self.inputs}", hint)
            if source in demand and int(driven.max()) > self.targets:
                worst = int(driven.argmax())
                yield Violation(
                    "fan_out",
                    f"layer {source!r}",
                    f"{int(driven[worst])} targets of neuron {worst}",
                    f"a neuron has {self.targets}",
                    f"prune {int(driven[worst]) - self.targets} of its synapses",
                )

    def usage(self, demand: Demand, cores: Cores) -> list[Used]:
        driven = fan_out(demand)
        inputs = max((len(count) for source, count in driven.items() if source not in demand), default=0)
        most = max((int(count.max()) for source, count in driven.items() if source in demand), default=0)
        return [
            *super().usage(demand, cores),
            Used("targets of a neuron", most, self.targets),
            Used("inputs", inputs, self.inputs),
        ]
