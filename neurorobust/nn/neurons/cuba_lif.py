"""Leaky integrate-and-fire with a filtered synaptic current."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ...dynamics import Reset
from ...dynamics.surrogate import Surrogate, Triangle
from ...kernels import LifCoefficients
from ..connections import Connection
from .neuron import LIF, SpikingNeuron, Value, check_surrogate, decay


class CubaLif(SpikingNeuron):
    """Current-based leaky integrate-and-fire, NIR's CubaLIF (w_in = 1).

    ::

        tau_syn di/dt = −i + I          tau_mem dv/dt = v_leak − v + r i
        i[t] = σ i[t−1] + (1 − σ) I[t]                                 σ = exp(−dt/tau_syn)
        v[t] = α v[t−1] + (1 − α)(v_leak + r i[t]), and the reset      α = exp(−dt/tau_mem)
        z[t] = 1 if v[t] > v_threshold and t_ref has passed since the last spike, else 0

    The first equation is solved exactly for I constant over a step. The second uses i at the end of the step. For
    r = 1/((1 − σ)(1 − α)) this is ``snntorch.Synaptic(alpha=σ, beta=α)``.

    Args:
        input, recurrent, core: see :class:`Neuron`; recurrent spikes pass the synapse too.
        tau_syn, tau_mem: time constants of synapse and membrane, s. v_threshold: threshold, V. The others as in
            :class:`Lif`.

    Raises:
        TypeError: ``surrogate`` is no surrogate.

    Example:
        >>> synapse = nr.nn.Linear(torch.full((1, 1), 4.0))
        >>> cell = nr.neurons.CubaLif(synapse, tau_syn=5e-3, tau_mem=0.02, v_threshold=1.0)
        >>> network = nr.Network({"cell": cell}, dt=1e-3, decode=nr.nn.sum_over_time)
        >>> nr.run(network, nr.nominal(network), torch.ones(1, 100, 1)).item()  # spikes in 100 ms
        15.0
    """

    stated = replace(LIF, synapse="one synaptic current")

    def __init__(
        self,
        input: Connection,
        *,
        recurrent: Connection | None = None,
        core: Tensor | None = None,
        tau_syn: Value,
        tau_mem: Value,
        v_threshold: Value,
        r: Value | None = None,
        v_leak: Value | None = None,
        v_reset: Value | None = None,
        t_ref: Value | None = None,
        surrogate: Surrogate = Triangle(),
        reset: Reset | None = None,
    ):
        super().__init__(input, recurrent, core)
        self.set("tau_syn", tau_syn)
        self.set("tau_mem", tau_mem)
        self.set("v_threshold", v_threshold)
        self.set("r", r)
        self.set("v_leak", v_leak)
        self.set_reset(reset, v_reset)
        self.set("t_ref", t_ref)
        self.surrogate = check_surrogate(surrogate)

    def coefficients(self, dt: float) -> LifCoefficients:
        alpha, syn = decay(self.per_neuron("tau_mem"), dt), decay(self.per_neuron("tau_syn"), dt)
        return LifCoefficients(
            alpha,
            self.gain(alpha) * (1 - syn),
            self.per_neuron("v_threshold"),
            syn,
            self.optional("v_leak"),
            self.optional("v_reset"),
            self.refractory(dt),
        )
