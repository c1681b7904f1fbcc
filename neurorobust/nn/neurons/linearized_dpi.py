"""A linearisation of the DPI neuron of DYNAP-SE and ROLLS: current-based leaky integrate-and-fire with a floor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ... import kernels
from ...core.noise import Noise
from ...dynamics import Adaptation, Ahp, CancelsExcitation, Floor, HardFloor, Inhibition, NoFloor, PullsDown
from ...dynamics.surrogate import Surrogate, Triangle
from ...kernels import FlooredCoefficients, FlooredDynamics
from ..connections import Connection, Linear
from ..sparse_linear import FUSED
from .neuron import EXAMPLES, LIF, Neuron, Value, a_step_later, check_surrogate, decay, inherits


class FloorTrace(NamedTuple):
    """A record of a layer with a floor, (T, B, n) each, without gradient.

    Attributes:
        spikes: z. at_floor: True where the floor acts: v would be below v_floor without it. cut: True where the input
            of the membrane is cut at 0, which :class:`~neurorobust.dynamics.CancelsExcitation` alone does.
    """

    spikes: Tensor
    at_floor: Tensor
    cut: Tensor


class LinearizedDpi(Neuron):
    """Current-based leaky integrate-and-fire whose membrane cannot go below ``v_floor``.

    It is a linearisation of the DPI circuit, not the circuit: the page "Physics of DPI neurons" gives the error. The
    membrane is a current on the chip; here it is a potential, in the unit of the threshold. One step, in this order,
    from i_exc = i_inh = b = z = 0 and v = v_leak::

        1  i_exc[t] = σ_e i_exc[t−1] + Σ max(w, 0) x[t]           σ_e = exp(−dt/tau_syn_exc), x: inputs, z[t−1]
           i_inh[t] = σ_i i_inh[t−1] + Σ max(−w, 0) x[t]          σ_i = exp(−dt/tau_syn_inh)
           b[t] = ρ b[t−1] + z[t−1]                               ρ = exp(−dt/tau_adapt)
        2  v[t] = α v[t−1] + (1 − α)(v_leak + r (m_e i_exc[t] − m_i i_inh[t] − i_ahp[t] + i_dc))
                                                                  α = exp(−dt/tau_mem), m = (1 − σ) tau_syn/dt
        3  v[t] ← v_floor where v[t] < v_floor
        4  v[t] ← v_reset for t_ref after a spike                 no spike in these steps
        5  z[t] = 1 where v[t] > ϑ[t]
        6  v[t] ← v_reset where z[t] = 1

    **Synapses.** One event through a weight w makes a synaptic current jump by w, whatever dt and tau_syn are. On the
    chip the jump is (1 − exp(−t_pulse/τ)) I_gain I_w/I_τ; it does not depend on I_τ either if the pulse is short
    compared with τ. The current decays exactly. m is its mean over one step, so an event carries the charge w · tau_syn
    at every dt, and the network has a limit for dt → 0. :class:`CubaLif` scales an event by 1 − σ instead, so the size
    of its event depends on dt. A zero weight has the derivative of an excitatory one. Inputs are events, ≥ 0.

    **Inhibition.** With :class:`~neurorobust.dynamics.PullsDown` it is as in 2. On the chip, subtracting inhibition
    cancels excitation only. So it is with :class:`~neurorobust.dynamics.CancelsExcitation`::

        2  v[t] = α v[t−1] + (1 − α)(v_leak + r (max(m_e i_exc[t] − m_i i_inh[t] + i_dc, 0) − i_ahp[t]))

    **Direct current.** i_dc is the bias of the connections. It passes no synapse, deviates per neuron, and lifts rest
    to v_leak + r · i_dc. If that is above v_threshold, the neuron fires without input.

    **Adaptation**, if tau_adapt and ``adaptation`` are given. With :class:`~neurorobust.dynamics.Ahp`
    i_ahp[t] = m_a · adaptation · b[t], m_a = (1 − ρ) tau_adapt/dt. With
    :class:`~neurorobust.dynamics.AdaptiveThreshold` i_ahp = 0 and ϑ[t] = v_threshold + adaptation · b[t]. Otherwise
    i_ahp = 0 and ϑ = v_threshold. Synapses and b go on during t_ref.

    **Gradient.** The floor's own is that of ``floor``. A membrane exactly at the floor counts as above it: so a neuron
    at rest has a gradient where v_floor = v_leak. The maximum of CancelsExcitation has the gradient of ``floor`` too.
    t_ref has none. The reset has its true one.

    Args:
        input, recurrent, core: see :class:`Neuron`. Every connection needs a weight whose sign says whether a synapse
            excites or inhibits.
        tau_mem, tau_syn_exc, tau_syn_inh: time constants of membrane and synapses, s; the last two are the parameters
            ``exc.tau_syn`` and ``inh.tau_syn`` of the layer. v_threshold: threshold, V.
        r: 1 by default. v_leak: potential without input, V, 0 by default. v_floor: lowest potential, V, 0 by default.
            v_reset: potential after a spike, V, v_leak by default. t_ref: refractory period, s, rounded to the nearest
            whole step.
        tau_adapt, adaptation: both or none: time constant, s, and the step of i_ahp or ϑ at every spike, V.
        rule: what ``adaptation`` changes. floor: its gradient. inhibition: what i_inh can do to the membrane.
            surrogate: derivative of the spike.

    Raises:
        ValueError: tau_adapt without ``adaptation`` or the reverse, v_floor beside ``NoFloor()``, or a value out of
            range. TypeError: a rule, floor or inhibition of another class.

    Example:
        >>> taus = dict(tau_mem=0.02, tau_syn_exc=5e-3, tau_syn_inh=5e-3)
        >>> cell = nr.neurons.LinearizedDpi(nr.nn.Linear(torch.tensor([[8.0, -6.0]])), v_threshold=1.0, **taus)
        >>> network, x = nr.Network({"cell": cell}, dt=1e-3, decode=nr.nn.sum_over_time), torch.zeros(1, 100, 2)
        >>> x[:, ::5, 0], x[:, 50::5, 1] = 1, 1  # excitation every 5 ms; inhibition with it in the second half
        >>> [nr.run(network, nr.nominal(network), x[:, :t]).item() for t in (50, 100)]  # spikes until then
        [14.0, 18.0]
    """

    stated = replace(LIF, floor="floor at rest", reset="reset to rest", synapse="synaptic currents by sign")

    def __init__(
        self,
        input: Connection,
        *,
        recurrent: Connection | None = None,
        core: Tensor | None = None,
        tau_mem: Value,
        tau_syn_exc: Value,
        tau_syn_inh: Value,
        v_threshold: Value,
        r: Value | None = None,
        v_leak: Value | None = None,
        v_floor: Value | None = None,
        v_reset: Value | None = None,
        t_ref: Value | None = None,
        tau_adapt: Value | None = None,
        adaptation: Value | None = None,
        rule: Adaptation = Ahp(),
        floor: Floor = HardFloor(),
        inhibition: Inhibition = PullsDown(),
        surrogate: Surrogate = Triangle(),
    ):
        super().__init__(input, recurrent, core)
        if (tau_adapt is None) != (adaptation is None):
            missing = "tau_adapt" if tau_adapt is None else "adaptation"
            raise ValueError(f"{missing}: got None beside the other; expected both tau_adapt and adaptation, or none.")
        if not isinstance(rule, Adaptation):
            raise TypeError(f"rule: got {rule!r}; expected a neurorobust.dynamics.Adaptation, such as Ahp().")
        if not isinstance(floor, Floor):
            raise TypeError(f"floor: got {floor!r}; expected a neurorobust.dynamics.Floor, such as HardFloor().")
        if isinstance(floor, NoFloor) and v_floor is not None:
            raise ValueError("v_floor: NoFloor() does not use it; leave v_floor out, or pass floor=HardFloor().")
        if not isinstance(inhibition, Inhibition):
            raise TypeError(
                f"inhibition: got {inhibition!r}; expected a neurorobust.dynamics.Inhibition, such as PullsDown()."
            )
        if isinstance(floor, NoFloor) and isinstance(inhibition, CancelsExcitation):
            raise ValueError(
                f"inhibition: got {inhibition!r} beside NoFloor(), which cuts nothing; expected PullsDown(), or pass "
                f"floor=HardFloor()."
            )
        self.exc, self.inh = nn.Module(), nn.Module()
        self.set("tau_mem", tau_mem)
        self.set("exc.tau_syn", tau_syn_exc)
        self.set("inh.tau_syn", tau_syn_inh)
        self.set("v_threshold", v_threshold)
        self.set("r", r)
        self.set("v_leak", v_leak)
        self.set("v_floor", v_floor)
        self.set("v_reset", v_reset)
        self.set("t_ref", t_ref)
        self.set("tau_adapt", tau_adapt)
        self.set("adaptation", adaptation)
        self.rule, self.floor, self.inhibition = rule, floor, inhibition
        self.surrogate = check_surrogate(surrogate)

    def floored_coefficients(self, dt: float) -> FlooredCoefficients:
        """The numbers of one step of dt seconds; see :func:`neurorobust.kernels.floored`."""
        adapts, alpha = hasattr(self, "tau_adapt"), decay(self.per_neuron("tau_mem"), dt)
        kinds = "exc.tau_syn", "inh.tau_syn", *(["tau_adapt"] if adapts else [])
        tau = torch.stack([self.per_neuron(kind) for kind in kinds])
        decays, gain = decay(tau, dt), self.gain(alpha)
        syn_exc, syn_inh, *rho = decays.unbind()
        gain_exc, gain_inh, *gain_adapt = (gain * _mean(decays, tau, dt)).unbind()
        ahp = raised = None
        if adapts:
            current, raised = self.rule.effects(self.per_neuron("adaptation"))
            ahp = None if current is None else gain_adapt[0] * current
        direct, none = self.direct_current(dt), torch.zeros_like(alpha)
        v_leak, v_floor, v_reset = (self.optional(kind) for kind in ("v_leak", "v_floor", "v_reset"))
        return FlooredCoefficients(
            alpha,
            gain_exc,
            gain_inh,
            syn_exc,
            syn_inh,
            none if direct is None else gain * direct,
            self.per_neuron("v_threshold"),
            none if v_floor is None else v_floor,
            v_leak,
            v_leak if v_reset is None else v_reset,
            self.refractory(dt),
            rho[0] if rho else None,
            ahp,
            raised,
        )

    def floored_dynamics(self) -> FlooredDynamics:
        """The surrogate, the floor and the inhibition."""
        return FlooredDynamics(self.surrogate, self.floor, self.inhibition)

    def chosen(self) -> dict[str, str]:
        lifted = hasattr(self, "v_leak") or hasattr(self, "v_floor")
        return {
            "floor": "no floor" if isinstance(self.floor, NoFloor) else f"floor {'below' if lifted else 'at'} rest",
            "reset": "reset to a value" if hasattr(self, "v_reset") else "reset to rest",
            "refractory": "refractory time that holds the membrane" if hasattr(self, "t_ref") else "no refractory time",
            "inhibition": self.inhibition.word,
            "adaptation": self.rule.word if hasattr(self, "tau_adapt") else "no adaptation",
        }

    def direct_current(self, dt: float) -> Tensor | None:
        """i_dc, (n,): the bias of all connections; None without any."""
        found = [connection.offset(dt) for connection in self.connections().values()]
        present = [bias for bias in found if bias is not None]
        return sum(present[1:], present[0]) if present else None

    def currents(self, x: Tensor, dt: float) -> Tensor:
        """Input of the excitatory and of the inhibitory synapses, side by side, (T, B, 2n)."""
        return torch.cat(self.input.by_sign(x, dt), -1)

    def forward(self, x: Tensor, dt: float) -> Tensor:
        c, dynamics = self.floored_coefficients(dt), self.floored_dynamics()
        if type(self.input) in FUSED and inherits(type(self), LinearizedDpi, "currents"):
            return kernels.floored_layer(x, self.input.synapses(), self.recurrent_synapses(), c, dynamics)
        return kernels.floored(self.currents(x, dt), self.recurrent_synapses(), c, dynamics)[0]

    def trace(self, x: Tensor, dt: float) -> FloorTrace:
        """The spikes for an input (T, B, n_in), and where the floor acts; no gradient."""
        with torch.no_grad():
            c, dynamics = self.floored_coefficients(dt), self.floored_dynamics()
            current = self.currents(x, dt)
            spikes, above = kernels.floored(current, self.recurrent_synapses(), c, dynamics)
            free = torch.ones_like(spikes, dtype=torch.bool)
            if c.refractory is not None:
                free = ~_held(spikes, c.refractory)
            at_floor = torch.zeros_like(free) if isinstance(self.floor, NoFloor) else free & (above < 0)
            cut = torch.zeros_like(free)
            if isinstance(self.inhibition, CancelsExcitation):
                if self.recurrent is not None:
                    current = current + torch.cat(self.recurrent.by_sign(a_step_later(spikes), dt), -1)
                cut = free & (_drive(current, c) < 0)
            return FloorTrace(spikes, at_floor, cut)

    def noisy(self, name: str, x: Tensor, dt: float, noise: Noise) -> Tensor:
        """:meth:`forward` with the noise of the layer ``name``. Added currents go to the membrane, past the synapses.

        Raises:
            TypeError: read noise, for which the sign of each synapse would have to be kept.
        """
        recurrence = f"{name}.recurrent"
        for connection in (f"{name}.input", recurrence):
            if connection in noise.read:
                raise TypeError(
                    f"noise.read[{connection!r}]: LinearizedDpi does not support read noise; leave it out, or use "
                    f"Membrane noise."
                )
        c, dynamics, synapses = self.floored_coefficients(dt), self.floored_dynamics(), self.recurrent_synapses()
        current, pushed = self.currents(x, dt), None
        if name in noise.added:
            pushed = self.gain(c.alpha) * noise.driven(name, torch.zeros_like(current[..., : self.n]))
        output = kernels.floored(current, synapses, c, dynamics, pushed)[0]
        if self.recurrent is None or name not in noise.kept:
            return output
        for _ in range(len(x) - 1):
            past = a_step_later(output.detach())
            lost = a_step_later(noise.transmitted(name, output.detach())) - past
            changed = current + torch.cat(self.recurrent.by_sign(lost, dt), -1).detach()
            again = kernels.floored(changed, synapses, c, dynamics, pushed)[0]
            if torch.equal(again, output):
                break
            output = again
        return output

    @classmethod
    def example(cls, generator: torch.Generator, n: int = 5, *, per_neuron: bool = True) -> LinearizedDpi:
        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        values = {
            kind: EXAMPLES[kind]
            for kind in ("tau_mem", "v_threshold", "r", "v_leak", "v_floor", "v_reset", "t_ref", "tau_adapt")
        } | {"tau_syn_exc": 0.004, "tau_syn_inh": 0.006, "adaptation": 0.05}
        arguments: dict[str, Any] = (
            values
            if not per_neuron
            else {name: value * (1 + 0.2 * torch.rand(n, generator=generator)) for name, value in values.items()}
        )
        return cls(
            Linear(normal(n, 3), 0.1 * normal(n)),
            recurrent=Linear(0.3 * normal(n, n), 0.1 * normal(n)),
            **arguments,
        )


def _mean(sigma: Tensor, tau: Tensor, dt: float) -> Tensor:
    """The mean over one step of what decays by ``sigma`` in it, as a fraction of the value at its beginning."""
    return (1 - sigma) * tau / dt


def _drive(current: Tensor, c: FlooredCoefficients) -> Tensor:
    """The change of the membrane by synapses (T, B, 2n) and direct current in each step, (T, B, n); may be below 0."""
    excitation, inhibition = current.chunk(2, -1)
    exc = inh = torch.zeros_like(excitation[0])
    drives = []
    for excite, inhibit in zip(excitation, inhibition):
        exc, inh = c.syn_exc * exc + excite, c.syn_inh * inh + inhibit
        drives.append(c.gain_exc * exc - c.gain_inh * inh + c.lift)
    return torch.stack(drives)


def _held(spikes: Tensor, refractory: Tensor) -> Tensor:
    """True in the ``refractory`` (n,) steps after every spike (T, B, n)."""
    countdown, held = torch.zeros_like(spikes[0]), []
    for z in spikes:
        held.append(countdown > 0)
        countdown = torch.where(z > 0, refractory, countdown - 1)
    return torch.stack(held)
