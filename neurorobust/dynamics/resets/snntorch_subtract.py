"""Subtraction of the threshold at once, as snnTorch computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Coefficients, Reset


@dataclass(frozen=True)
class SnntorchSubtract(Reset):
    """:class:`~neurorobust.dynamics.Subtract` as in snnTorch (``reset_delay=False``): a membrane that is still
    above ϑ after its reset has to reach 2ϑ in the next step in order to spike again, and is reset only if it does.

    Example:
        >>> synapse, reset = nr.nn.Linear(torch.full((1, 1), 50.0)), nr.nn.SnntorchSubtract()
        >>> cell = nr.neurons.Lif(synapse, tau_mem=0.02, v_threshold=1.0, reset=reset)
        >>> network, x = nr.Network({"cell": cell}, dt=1e-3), torch.tensor([[[1.0], [0.0], [0.0]]])
        >>> _, spikes = nr.run(network, nr.nominal(network), x, record=True)
        >>> spikes["cell"].flatten().tolist()  # 1.4 is left after the reset; with Subtract it would spike again
        [1.0, 0.0, 0.0]
    """

    detach: bool = False
    word: ClassVar[str] = "subtractive reset"

    def decayed(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return c.alpha * self.membrane(v, z, c)

    def membrane(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        return v - z * c.v_threshold

    def barrier(self, v: Tensor, z: Tensor, c: Coefficients) -> Tensor:
        above = self.membrane(v, z, c) > c.v_threshold
        return above.to(v.dtype) * c.v_threshold
