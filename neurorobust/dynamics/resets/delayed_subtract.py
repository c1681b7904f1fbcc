"""Subtraction of the threshold one step after the spike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class DelayedSubtract(Reset):
    """v[t] = α v[t−1] − z[t−1] ϑ + …: the threshold is subtracted one step later, undecayed.

    The reset of arXiv 2106.05009 and the default of ``snntorch.Leaky``, whose gradients need ``detach=True``.

    Example:
        >>> synapse, reset = nr.nn.Linear(torch.full((1, 1), 8.0)), nr.nn.DelayedSubtract()
        >>> cell = nr.neurons.Lif(synapse, tau_mem=0.02, v_threshold=1.0, reset=reset)
        >>> network, x = nr.Network({"cell": cell}, dt=1e-3), torch.ones(1, 20, 1)
        >>> _, spikes = nr.run(network, nr.nominal(network), x, record=True)
        >>> spikes["cell"].flatten().nonzero().flatten().tolist()  # the steps with a spike
        [2, 5, 8, 11, 14, 17, 19]
    """

    detach: bool = False
    word: ClassVar[str] = "subtractive reset"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * v - z * c.v_threshold
