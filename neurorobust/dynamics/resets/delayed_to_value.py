"""Reset to a value one step after the spike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class DelayedToValue(Reset):
    """:class:`~neurorobust.dynamics.ToValue` at the start of the next step: the same spikes, but the membrane that is
    recorded is the one that reached the threshold. ``snntorch.Leaky`` with ``"zero"``, whose gradients need
    ``detach=True``.

    Example:
        >>> synapse, reset = nr.nn.Linear(torch.full((1, 1), 8.0)), nr.nn.DelayedToValue()
        >>> cell = nr.neurons.Lif(synapse, tau_mem=0.02, v_threshold=1.0, reset=reset)
        >>> network, x = nr.Network({"cell": cell}, dt=1e-3), torch.ones(1, 20, 1)
        >>> _, spikes = nr.run(network, nr.nominal(network), x, record=True)
        >>> spikes["cell"].flatten().nonzero().flatten().tolist()  # as with ToValue
        [2, 5, 8, 11, 14, 17]
    """

    detach: bool = False
    word: ClassVar[str] = "reset to a value"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * (v - z * (v if c.v_reset is None else v - c.v_reset))
