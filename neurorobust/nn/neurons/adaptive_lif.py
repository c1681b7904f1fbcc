"""Leaky integrate-and-fire with an adaptive threshold, the neuron of arXiv 2106.05009."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...dynamics import DelayedSubtract, Dynamics
from ...dynamics.surrogate import Surrogate, Triangle
from ...kernels import LifCoefficients
from ..connections import Connection
from .neuron import LIF, SpikingNeuron, Value, check_surrogate, decay


class AdaptiveLif(SpikingNeuron):
    """Adaptive-threshold leaky integrate-and-fire (LSNN; Bellec et al. 2018, arXiv 2106.05009).

    ::

        b[t] = ρ b[t−1] + (1 − ρ) z[t−1]                             ρ = exp(−dt/tau_adapt)
        ϑ[t] = v_threshold + adaptation · b[t]
        v[t] = α v[t−1] + (1 − α) I[t] − z[t−1] ϑ[t]                 α = exp(−dt/tau_mem)
        z[t] = 1 if v[t] > ϑ[t] and z[t−1] = 0, else 0

    One silent step follows every spike, so the shortest interval is two steps.

    Args:
        input, recurrent, core: see :class:`Neuron`.
        tau_mem, tau_adapt: time constants of membrane and adaptation, s.
        adaptation: increase of the threshold per unit of b, V, ≥ 0. v_threshold: threshold at rest, V.

    Raises:
        TypeError: ``surrogate`` is no surrogate.

    Example:
        >>> synapse = nr.nn.Linear(torch.full((1, 1), 8.0))
        >>> cell = nr.neurons.AdaptiveLif(synapse, tau_mem=0.02, tau_adapt=0.1, adaptation=40.0, v_threshold=1.0)
        >>> network = nr.Network({"cell": cell}, dt=1e-3)
        >>> _, spikes = nr.run(network, nr.nominal(network), torch.ones(1, 120, 1), record=True)
        >>> spikes["cell"].flatten().nonzero().flatten().diff().tolist()  # ms: the intervals grow
        [5, 6, 8, 8, 9, 10, 11, 11, 12, 13, 12]
    """

    stated = replace(LIF, refractory="refractory time that only blocks spikes", adaptation="adaptive threshold")

    def __init__(
        self,
        input: Connection,
        *,
        recurrent: Connection | None = None,
        core: Tensor | None = None,
        tau_mem: Value,
        tau_adapt: Value,
        adaptation: Value,
        v_threshold: Value,
        surrogate: Surrogate = Triangle(),
    ):
        super().__init__(input, recurrent, core)
        self.set("tau_mem", tau_mem)
        self.set("tau_adapt", tau_adapt)
        self.set("adaptation", adaptation)
        self.set("v_threshold", v_threshold)
        self.surrogate = check_surrogate(surrogate)

    def dynamics(self) -> Dynamics:
        return Dynamics(self.surrogate, DelayedSubtract())

    def chosen(self) -> dict[str, str]:
        return {}

    def coefficients(self, dt: float) -> LifCoefficients:
        alpha = decay(self.per_neuron("tau_mem"), dt)
        return LifCoefficients(
            alpha,
            1 - alpha,
            self.per_neuron("v_threshold"),
            refractory=torch.ones_like(alpha),
            rho=decay(self.per_neuron("tau_adapt"), dt),
            adaptation=self.per_neuron("adaptation"),
        )
