"""What the time loops take besides their input current."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Coefficients(NamedTuple):
    """Per-neuron numbers of one adaptive LIF layer, each of shape (n,).

    alpha: membrane decay exp(−dt/tau_mem); gain: (1 − alpha)·r; rho: decay of the adaptation exp(−dt/tau_adapt);
    adaptation: growth of the threshold per unit of b; v_threshold: threshold at rest.
    """

    alpha: Tensor
    gain: Tensor
    rho: Tensor
    adaptation: Tensor
    v_threshold: Tensor
