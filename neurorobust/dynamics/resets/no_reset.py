"""No reset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class NoReset(Reset):
    """v[t] = α v[t−1] + …: a spike does not change the membrane.

    Example:
        >>> synapse, reset = nr.nn.Linear(torch.full((1, 1), 4.0)), nr.nn.NoReset()
        >>> cell = nr.neurons.Lif(synapse, tau_mem=0.02, v_threshold=1.0, reset=reset)
        >>> network, x = nr.Network({"cell": cell}, dt=1e-3), torch.ones(1, 10, 1)
        >>> _, spikes = nr.run(network, nr.nominal(network), x, record=True)
        >>> spikes["cell"].flatten().nonzero().flatten().tolist()  # a spike in every step above the threshold
        [5, 6, 7, 8, 9]
    """

    detach: bool = False
    word: ClassVar[str] = "no reset"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * v
