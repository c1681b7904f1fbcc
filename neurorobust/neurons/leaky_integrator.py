"""The read-out: a leaky integrator that does not spike."""

from __future__ import annotations

from torch import Tensor

from .. import kernels
from ..connections import Linear
from .neuron import Neuron, Value, decay


class LeakyIntegrator(Neuron):
    """NIR's LI: tau_mem dv/dt = −v + I, so v[t] = α v[t−1] + (1 − α) I[t] with α = exp(−dt/tau_mem).

    Args:
        input, core: see :class:`Neuron`.
        tau_mem: time constant, s.
    """

    def __init__(self, input: Linear, core: Tensor | None = None, *, tau_mem: Value):
        super().__init__(input, None, core)
        self.set("tau_mem", tau_mem)

    def forward(self, x: Tensor, dt: float) -> Tensor:
        alpha = decay(self.per_neuron("tau_mem"), dt)
        return kernels.leaky_integrator(self.input(x), alpha, 1 - alpha)
