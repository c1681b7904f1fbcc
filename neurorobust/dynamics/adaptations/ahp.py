"""Adaptation by an after-hyperpolarization current."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Adaptation, Effects


@dataclass(frozen=True)
class Ahp(Adaptation):
    """Every spike adds ``adaptation`` to a current that is subtracted from the input and decays with tau_adapt.

    Example:
        >>> taus = dict(tau_mem=0.02, tau_syn_exc=5e-3, tau_syn_inh=5e-3, tau_adapt=0.1)
        >>> synapse, rule = nr.nn.Linear(torch.ones(1, 1)), nr.nn.Ahp()
        >>> cell = nr.neurons.LinearizedDpi(synapse, v_threshold=1.0, adaptation=0.2, rule=rule, **taus)
        >>> cell.equations().adaptation
        'adaptation current'
    """

    word: ClassVar[str] = "adaptation current"

    def effects(self, adaptation: Tensor) -> Effects:
        return Effects(adaptation, None)
