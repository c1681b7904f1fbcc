"""Leaky integrator with a filtered synaptic current."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ... import kernels
from ...kernels import LifCoefficients
from ..connections import Connection
from .neuron import LIF, Neuron, Value, decay


class CubaLeakyIntegrator(Neuron):
    """Current-based leaky integrator: :class:`CubaLif` without spikes.

    ::

        i[t] = σ i[t−1] + (1 − σ) I[t]                      σ = exp(−dt/tau_syn)
        v[t] = α v[t−1] + (1 − α)(v_leak + r i[t])          α = exp(−dt/tau_mem)

    v starts at v_leak. ``snntorch.Synaptic(alpha=σ, beta=α, reset_mechanism="none")`` has this membrane for
    r = 1/((1 − σ)(1 − α)).

    Args:
        input, core: see :class:`Neuron`; without a core, the host computes the layer.
        tau_syn, tau_mem: time constants of synapse and membrane, s. r: resistance, 1 by default. v_leak: potential
            at rest, V, 0 by default.

    Example:
        >>> readout = nr.neurons.CubaLeakyIntegrator(nr.nn.Linear(torch.ones(1, 1)), tau_syn=5e-3, tau_mem=0.02)
        >>> network = nr.Network({"readout": readout}, dt=1e-3, decode=nr.nn.last_step)
        >>> x = torch.ones(1, 200, 1)
        >>> [round(nr.run(network, nr.nominal(network), x[:, :t]).item(), 2) for t in (5, 20, 200)]
        [0.1, 0.53, 1.0]
    """

    spiking = False
    stated = replace(LIF, reset="no reset", synapse="one synaptic current")

    def __init__(
        self,
        input: Connection,
        *,
        core: Tensor | None = None,
        tau_syn: Value,
        tau_mem: Value,
        r: Value | None = None,
        v_leak: Value | None = None,
    ):
        super().__init__(input, None, core)
        self.set("tau_syn", tau_syn)
        self.set("tau_mem", tau_mem)
        self.set("r", r)
        self.set("v_leak", v_leak)

    def coefficients(self, dt: float) -> LifCoefficients:
        alpha, syn = decay(self.per_neuron("tau_mem"), dt), decay(self.per_neuron("tau_syn"), dt)
        never = torch.full_like(alpha, torch.inf)
        return LifCoefficients(alpha, self.gain(alpha) * (1 - syn), never, syn, self.optional("v_leak"))

    def forward(self, x: Tensor, dt: float) -> Tensor:
        return self.respond(self.current(x, dt), dt)

    def respond(self, current: Tensor, dt: float) -> Tensor:
        c = self.coefficients(dt)
        assert c.syn is not None
        filtered = kernels.leaky_integrator(current, c.syn, 1 - c.syn)
        v = kernels.leaky_integrator(filtered, c.alpha, self.gain(c.alpha))
        return v if c.v_leak is None else v + c.v_leak
