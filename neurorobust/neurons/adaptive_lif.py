"""The paper's neuron: leaky integrate-and-fire whose threshold rises with every spike."""

from __future__ import annotations

from torch import Tensor

from .. import kernels
from ..connections import Connection
from ..surrogate import Surrogate, Triangle
from .neuron import Neuron, Value, decay


class AdaptiveLif(Neuron):
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
        adaptation: threshold gained per unit of b, V, ≥ 0. v_threshold: threshold at rest, V.
    """

    def __init__(
        self,
        input: Connection,
        recurrent: Connection | None = None,
        core: Tensor | None = None,
        *,
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
        self.surrogate = surrogate

    def forward(self, x: Tensor, dt: float) -> Tensor:
        alpha = decay(self.per_neuron("tau_mem"), dt)
        c = kernels.Coefficients(
            alpha,
            1 - alpha,
            decay(self.per_neuron("tau_adapt"), dt),
            self.per_neuron("adaptation"),
            self.per_neuron("v_threshold"),
        )
        return kernels.adaptive_lif(self.current(x, dt), self.recurrent_matrix(), c, self.surrogate, refractory=1)
