"""Leaky integrate-and-fire."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import kernels
from ..connections import Linear
from ..surrogate import Surrogate, Triangle
from .neuron import Neuron, Value, decay


class Lif(Neuron):
    """Leaky integrate-and-fire, NIR's LIF solved exactly for a current that is constant over a step.

    ::

        tau_mem dv/dt = −v + r I
        v[t] = α v[t−1] + (1 − α) r I[t] − z[t−1] v_threshold        α = exp(−dt/tau_mem)
        z[t] = 1 if v[t] > v_threshold else 0

    The threshold is subtracted one step after the spike, as ``snntorch.Leaky`` does, which this equals for
    r = 1/(1 − beta).

    Args:
        input, recurrent, core: see :class:`Neuron`.
        tau_mem: membrane time constant, s. v_threshold: threshold, V. r: membrane resistance; omitted, it is 1
            and no parameter.
    """

    def __init__(
        self,
        input: Linear,
        recurrent: Linear | None = None,
        core: Tensor | None = None,
        *,
        tau_mem: Value,
        v_threshold: Value,
        r: Value | None = None,
        surrogate: Surrogate = Triangle(),
    ):
        super().__init__(input, recurrent, core)
        self.set("tau_mem", tau_mem)
        self.set("v_threshold", v_threshold)
        if r is not None:
            self.set("r", r)
        self.surrogate = surrogate

    def forward(self, x: Tensor, dt: float) -> Tensor:
        alpha = decay(self.per_neuron("tau_mem"), dt)
        gain = 1 - alpha if not hasattr(self, "r") else (1 - alpha) * self.per_neuron("r")
        none = torch.zeros_like(alpha)
        c = kernels.Coefficients(alpha, gain, none, none, self.per_neuron("v_threshold"))
        return kernels.adaptive_lif(self.input(x), self.recurrent_matrix(), c, self.surrogate, refractory=0)
