"""Inhibition up to the excitation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..floors import Floor
from .base import Inhibition


@dataclass(frozen=True)
class CancelsExcitation(Inhibition):
    """v + max(excitation − inhibition + direct current, 0): inhibition cancels what excites at the same time, and
    nothing more. A membrane without excitation falls as fast as its leak lets it, whatever inhibits it.

    The gradient through the maximum is that of the floor: 0 below for :class:`~neurorobust.dynamics.HardFloor`, the
    slope for :class:`~neurorobust.dynamics.LeakyFloor`. Currents that cancel exactly count as above.

    Example:
        >>> synapses = nr.nn.Linear(torch.tensor([[1.0, -3.0]]))  # one excites, one inhibits
        >>> taus = dict(tau_mem=0.02, tau_syn_exc=5e-3, tau_syn_inh=5e-3)
        >>> cell = nr.neurons.LinearizedDpi(synapses, v_threshold=1.0, inhibition=nr.nn.CancelsExcitation(), **taus)
        >>> cell.equations().inhibition
        'inhibition up to the excitation'
    """

    word: ClassVar[str] = "inhibition up to the excitation"

    def driven(self, v: Tensor, excitation: Tensor, inhibition: Tensor, direct: Tensor, floor: Floor) -> Tensor:
        drive = excitation - inhibition + direct
        return v + floor.limited(drive, torch.zeros_like(drive))
