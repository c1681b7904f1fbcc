"""An array of synapses whose rows all neurons of a core share, as BrainScaleS-2 and ROLLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .architecture import Architecture, Violation, over_fan_in
from .demand import Demand


@dataclass(frozen=True)
class Rows(Architecture):
    """Each neuron is a column of synapses, one in every row.

    Attributes:
        rows: synapses of a column. rows_per_input: 2 where a row has one sign, so a signed weight takes two rows.

    Example:
        >>> import chipmodels
        >>> budget = chipmodels.load("rolls").architecture
        >>> budget.neurons, budget.rows
        (256, 256)
    """

    rows: int
    rows_per_input: int

    def limits(self) -> dict[str, int]:
        return {
            "cores": self.cores,
            "neurons_per_core": self.neurons,
            "fan_in": self.rows // self.rows_per_input,
        }

    def check_demand(self, demand: Demand) -> Iterator[Violation]:
        what = "rows" if self.rows_per_input == 1 else f"inputs ({self.rows} rows, {self.rows_per_input} an input)"
        yield from over_fan_in(demand, self.rows // self.rows_per_input, what)
