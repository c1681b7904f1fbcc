"""Leaky integrate-and-fire."""

from __future__ import annotations

from torch import Tensor

from ...dynamics import Reset
from ...dynamics.surrogate import Surrogate, Triangle
from ...kernels import LifCoefficients
from ..connections import Connection
from .neuron import LIF, SpikingNeuron, Value, check_surrogate, decay


class Lif(SpikingNeuron):
    """Leaky integrate-and-fire, NIR's LIF solved exactly for a current that is constant over a step.

    ::

        tau_mem dv/dt = v_leak − v + r I
        v[t] = α v[t−1] + (1 − α)(v_leak + r I[t]), and the reset      α = exp(−dt/tau_mem)
        z[t] = 1 if v[t] > v_threshold and t_ref has passed since the last spike, else 0

    v starts at v_leak and is integrated during t_ref too. The default reset subtracts the threshold one step after the
    spike. With it and r = 1/(1 − beta) this is ``snntorch.Leaky``.

    Args:
        input, recurrent, core: see :class:`Neuron`.
        tau_mem: membrane time constant, s. v_threshold: threshold, V. r: membrane resistance, 1 by default.
        v_leak: potential at rest, V, 0 by default. v_reset: potential after a spike, V, for ``ToValue``.
        t_ref: refractory period, s, rounded to the nearest whole step; it has no gradient.
        surrogate: derivative of the spike. reset: effect of a spike on the membrane; by default ``ToValue`` if v_reset
            is given and ``DelayedSubtract`` if not.

    Raises:
        TypeError: ``surrogate`` is no surrogate.

    Example:
        >>> synapse = nr.nn.Linear(torch.full((1, 1), 2.0))
        >>> cell = nr.neurons.Lif(synapse, tau_mem=0.02, v_threshold=1.0, reset=nr.nn.ToValue(), t_ref=5e-3)
        >>> network = nr.Network({"cell": cell}, dt=1e-3)
        >>> _, spikes = nr.run(network, nr.nominal(network), torch.ones(1, 60, 1), record=True)
        >>> spikes["cell"].flatten().nonzero().flatten().tolist()  # the steps with a spike
        [13, 27, 41, 55]
    """

    stated = LIF

    def __init__(
        self,
        input: Connection,
        *,
        recurrent: Connection | None = None,
        core: Tensor | None = None,
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
        self.set("tau_mem", tau_mem)
        self.set("v_threshold", v_threshold)
        self.set("r", r)
        self.set("v_leak", v_leak)
        self.set_reset(reset, v_reset)
        self.set("t_ref", t_ref)
        self.surrogate = check_surrogate(surrogate)

    def coefficients(self, dt: float) -> LifCoefficients:
        alpha = decay(self.per_neuron("tau_mem"), dt)
        return LifCoefficients(
            alpha,
            self.gain(alpha),
            self.per_neuron("v_threshold"),
            None,
            self.optional("v_leak"),
            self.optional("v_reset"),
            self.refractory(dt),
        )
