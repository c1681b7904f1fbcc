"""Subtraction of the threshold at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class Subtract(Reset):
    """v ← v − z ϑ at once, then v[t] = α v[t−1] + …

    Example:
        >>> synapse, reset = nr.nn.Linear(torch.full((1, 1), 8.0)), nr.nn.Subtract()
        >>> cell = nr.neurons.Lif(synapse, tau_mem=0.02, v_threshold=1.0, reset=reset)
        >>> network, x = nr.Network({"cell": cell}, dt=1e-3), torch.ones(1, 20, 1)
        >>> _, spikes = nr.run(network, nr.nominal(network), x, record=True)
        >>> spikes["cell"].flatten().nonzero().flatten().tolist()  # steps; what is above the threshold is kept
        [2, 5, 8, 10, 13, 16, 19]
    """

    detach: bool = False
    word: ClassVar[str] = "subtractive reset"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * self.membrane(v, z, c)

    def membrane(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return v - z * c.v_threshold
