"""Inhibition without a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..floors import Floor
from .base import Inhibition


@dataclass(frozen=True)
class PullsDown(Inhibition):
    """v + excitation − inhibition + direct current: inhibition can pull the membrane down faster than its leak.

    Example:
        >>> synapses = nr.nn.Linear(torch.tensor([[1.0, -3.0]]))  # one excites, one inhibits
        >>> taus = dict(tau_mem=0.02, tau_syn_exc=5e-3, tau_syn_inh=5e-3)
        >>> cell = nr.neurons.LinearizedDpi(synapses, v_threshold=1.0, inhibition=nr.nn.PullsDown(), **taus)
        >>> cell.equations().inhibition
        'subtracted inhibition'
    """

    word: ClassVar[str] = "subtracted inhibition"

    def driven(self, v: Tensor, excitation: Tensor, inhibition: Tensor, direct: Tensor, floor: Floor) -> Tensor:
        return v + excitation - inhibition + direct
