"""Reset to a value at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class ToValue(Reset):
    """v ← v_reset at once where z = 1 (0 where no v_reset is given), then v[t] = α v[t−1] + …: NIR's reset.

    Example:
        >>> synapse, reset = nr.nn.Linear(torch.full((1, 1), 8.0)), nr.nn.ToValue()
        >>> cell = nr.neurons.Lif(synapse, tau_mem=0.02, v_threshold=1.0, reset=reset)
        >>> network, x = nr.Network({"cell": cell}, dt=1e-3), torch.ones(1, 20, 1)
        >>> _, spikes = nr.run(network, nr.nominal(network), x, record=True)
        >>> spikes["cell"].flatten().nonzero().flatten().tolist()  # steps; every interval is the same
        [2, 5, 8, 11, 14, 17]
    """

    detach: bool = False
    word: ClassVar[str] = "reset to a value"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * self.membrane(v, z, c)

    def membrane(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return v - z * (v if c.v_reset is None else v - c.v_reset)
