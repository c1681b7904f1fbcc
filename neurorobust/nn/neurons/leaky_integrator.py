"""Leaky integrator without spikes, the usual read-out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ... import kernels
from ...kernels import LifCoefficients
from ..connections import Connection
from .neuron import LIF, Neuron, Value, decay


class LeakyIntegrator(Neuron):
    """NIR's LI: tau_mem dv/dt = v_leak − v + r I, so v[t] = α v[t−1] + (1 − α)(v_leak + r I[t]), α = exp(−dt/tau_mem).

    v starts at v_leak.

    Args:
        input, core: see :class:`Neuron`; without a core, the host computes the layer.
        tau_mem: time constant, s. r: resistance, 1 by default. v_leak: potential at rest, V, 0 by default.

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.ones(1, 1)), tau_mem=0.02)
        >>> network = nr.Network({"readout": readout}, dt=1e-3, decode=nr.nn.last_step)
        >>> x = torch.ones(1, 20, 1)  # one time constant long
        >>> round(nr.run(network, nr.nominal(network), x).item(), 3)  # 1 − 1/e
        0.632
    """

    spiking = False
    stated = replace(LIF, reset="no reset")

    def __init__(
        self,
        input: Connection,
        *,
        core: Tensor | None = None,
        tau_mem: Value,
        r: Value | None = None,
        v_leak: Value | None = None,
    ):
        super().__init__(input, None, core)
        self.set("tau_mem", tau_mem)
        self.set("r", r)
        self.set("v_leak", v_leak)

    def coefficients(self, dt: float) -> LifCoefficients:
        alpha = decay(self.per_neuron("tau_mem"), dt)
        never = torch.full_like(alpha, torch.inf)
        return LifCoefficients(alpha, self.gain(alpha), never, v_leak=self.optional("v_leak"))

    def forward(self, x: Tensor, dt: float) -> Tensor:
        return self.respond(self.current(x, dt), dt)

    def respond(self, current: Tensor, dt: float) -> Tensor:
        c = self.coefficients(dt)
        v = kernels.leaky_integrator(current, c.alpha, c.gain)
        return v if c.v_leak is None else v + c.v_leak
