"""The training equations of a layer, step by step in plain torch, with one or several of them replaced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...dynamics import NoFloor
from ...nn.neurons import AdaptiveLif, CubaLif, Lif, LinearizedDpi, Neuron
from ...nn.neurons.neuron import SpikingNeuron, decay

STEPPED = (AdaptiveLif, CubaLif, Lif, LinearizedDpi)
Step = Callable[[int, Tensor], Tensor]
"""(substep of the run, recurrent spikes that arrive in it (B, n)) → spikes (B, n)."""


@dataclass(frozen=True)
class Equations:
    """The equations that are replaced; the defaults are the training equations.

    Attributes:
        floor: a membrane below 0 is set to 0. reset: a spike sets the membrane to rest at once, and t_ref holds it.
        tau_syn: an event becomes a synaptic current that decays with this constant, s; it carries the same charge as
            before. None: neurons without synaptic currents have none.
        substeps: steps in one dt. waits: whether spikes reach other neurons only with the steps of dt, as in training:
            their own layer at the beginning of the next one. Otherwise they arrive one substep later.
    """

    floor: bool = False
    reset: bool = False
    tau_syn: float | None = None
    substeps: int = 1
    waits: bool = True


@dataclass(frozen=True)
class Signal:
    """Counts of events, (steps, B, n), with ``per`` substeps from one entry to the next; they come in the first."""

    counts: Tensor
    per: int

    def finer(self) -> Signal:
        """With an entry for every substep."""
        if self.per == 1:
            return self
        steps, *rest = self.counts.shape
        spread = self.counts.new_zeros((steps, self.per, *rest))
        spread[:, 0] = self.counts
        return Signal(spread.flatten(0, 1), 1)


def joined(signals: list[Signal]) -> Signal:
    """Several signals side by side."""
    if len({signal.per for signal in signals}) > 1:
        signals = [signal.finer() for signal in signals]
    return Signal(torch.cat([signal.counts for signal in signals], -1), signals[0].per)


def run_layer(layer: Neuron, x: Signal, dt: float, e: Equations) -> Tensor:
    """The spikes of a layer in every substep, (T · substeps, B, n).

    Args:
        x: its input. dt: of the network, s.
    """
    batch, substeps = x.counts.shape[1], len(x.counts) * x.per
    silent = x.counts.new_zeros((batch, layer.n))
    step = _floored(layer, x, dt, e) if isinstance(layer, LinearizedDpi) else _lif(layer, x, dt, e)
    arriving, waiting, spikes = silent, silent, []
    for k in range(substeps):
        if e.waits and k % e.substeps == 0:
            arriving, waiting = waiting, silent
        z = step(k, arriving)
        spikes.append(z)
        waiting = waiting + z
        arriving = silent if e.waits else z
    return torch.stack(spikes)


def _floored(layer: LinearizedDpi, x: Signal, dt: float, e: Equations) -> Step:
    """One substep of :class:`~neurorobust.nn.LinearizedDpi`, which has floor, reset and synapses."""
    c = layer.floored_coefficients(dt / e.substeps)
    excitation, inhibition = layer.input.by_sign(x.counts, dt)
    matrix = layer.recurrent_matrix()
    positive = None if matrix is None else matrix.clamp(min=0)
    zero = torch.zeros_like(excitation[0])
    leak = torch.zeros_like(c.alpha) if c.v_leak is None else c.v_leak
    reset = torch.zeros_like(c.alpha) if c.v_reset is None or e.reset else c.v_reset - leak
    floored = e.floor or not isinstance(layer.floor, NoFloor)
    exc = inh = v = b = z = left = zero

    def step(k: int, recurrent: Tensor) -> Tensor:
        nonlocal exc, inh, v, b, z, left
        excite, inhibit = (part[k // x.per] if k % x.per == 0 else zero for part in (excitation, inhibition))
        if matrix is not None and positive is not None:
            excite, inhibit = excite + recurrent @ positive.T, inhibit + recurrent @ (positive - matrix).T
        exc = c.syn_exc * exc + excite
        inh = c.syn_inh * inh + inhibit
        v = layer.inhibition.driven(c.alpha * v, c.gain_exc * exc, c.gain_inh * inh, c.lift, layer.floor)
        threshold = c.v_threshold
        if c.rho is not None:
            b = c.rho * b + z
            v = v if c.ahp is None else v - c.ahp * b
            threshold = threshold if c.raised is None else threshold + c.raised * b
        v = torch.maximum(v, c.v_floor - leak) if floored else v
        z = (v + leak > threshold).to(v)
        if c.refractory is not None:
            v, z = torch.where(left > 0, reset, v), torch.where(left > 0, zero, z)
            left = torch.where(z > 0, c.refractory, left - 1)
        v = torch.where(z > 0, reset, v)
        return z

    return step


def _lif(layer: Neuron, x: Signal, dt: float, e: Equations) -> Step:
    """One substep of a layer of the LIF family."""
    assert isinstance(layer, SpikingNeuron)
    c = layer.coefficients(dt / e.substeps)
    if c.refractory is not None and isinstance(layer, AdaptiveLif):
        c = c._replace(refractory=c.refractory * e.substeps)  # one step of the network, whatever the substeps
    jump = None if c.rho is None else 1 - decay(layer.per_neuron("tau_adapt"), dt)
    current = _Filtered(layer, x, dt, e) if e.tau_syn is not None and c.syn is None else _Held(layer, x, e)
    how, base = layer.dynamics().reset, c.v_threshold
    zero = torch.zeros_like(x.counts[0, :, :1]) + torch.zeros_like(c.alpha)
    rest = zero if c.v_leak is None else zero + c.v_leak
    lift = None if c.v_leak is None else (1 - c.alpha) * c.v_leak
    v, b, syn, z, left = rest, zero, zero, zero, zero

    def step(k: int, recurrent: Tensor) -> Tensor:
        nonlocal c, v, b, syn, z, left
        if c.rho is not None and c.adaptation is not None and jump is not None:
            b = c.rho * b + jump * z
            c = c._replace(v_threshold=base + c.adaptation * b)
        drive = current(k, recurrent)
        syn = drive if c.syn is None else c.syn * syn + drive
        barrier = None if e.reset else how.barrier(v, z, c)
        v = (c.alpha * v if e.reset else how.decayed(v, z, c)) + c.gain * syn
        v = v if lift is None else v + lift
        v = v.clamp(min=0) if e.floor else v
        if e.reset and c.refractory is not None:
            v = torch.where(left > 0, rest, v)
        z = ((v if barrier is None else v - barrier) > c.v_threshold).to(v)
        if c.refractory is not None:
            z = torch.where(left > 0, zero, z)
            left = torch.where(z > 0, c.refractory, left - 1)
        v = torch.where(z > 0, rest, v) if e.reset else v
        return z

    return step


class _Held:
    """An event is a current that lasts for one step of the network, as in training."""

    def __init__(self, layer: SpikingNeuron, x: Signal, e: Equations):
        if x.per == 1 and e.substeps > 1:  # events between the steps
            total = torch.cat([torch.zeros_like(x.counts[:1]).expand(e.substeps, -1, -1), x.counts.cumsum(0)])
            x = replace(x, counts=total[e.substeps :] - total[: -e.substeps])
        self._current, self._per = layer.current(x.counts, 0.0), x.per
        self._matrix, self._lasts = layer.recurrent_matrix(), e.substeps
        self._recent = deque[Tensor]()
        self._present = torch.zeros_like(x.counts[0, :, :1])

    def __call__(self, k: int, recurrent: Tensor) -> Tensor:
        drive = self._current[k // self._per]
        if self._matrix is None:
            return drive
        self._recent.append(recurrent)
        self._present = self._present + recurrent  # counts: sums of whole numbers are exact
        if len(self._recent) > self._lasts:
            self._present = self._present - self._recent.popleft()
        return drive + self._present @ self._matrix.T


class _Filtered:
    """An event through w makes a current jump by w dt/tau_syn, which decays; the bias is a direct current."""

    def __init__(self, layer: SpikingNeuron, x: Signal, dt: float, e: Equations):
        assert e.tau_syn is not None
        tau, h = torch.as_tensor(e.tau_syn).to(x.counts), dt / e.substeps
        self._sigma = decay(tau, h)
        self._jump, self._mean = dt / tau, (1 - self._sigma) * tau / h
        self._bias, self._per = layer.bias(), x.per
        self._input = layer.current(x.counts, 0.0)
        self._input = self._input if self._bias is None else self._input - self._bias
        self._matrix = layer.recurrent_matrix()
        self._flows = torch.zeros_like(self._input[0])

    def __call__(self, k: int, recurrent: Tensor) -> Tensor:
        flows = self._sigma * self._flows
        if k % self._per == 0:
            flows = flows + self._jump * self._input[k // self._per]
        if self._matrix is not None:
            flows = flows + self._jump * (recurrent @ self._matrix.T)
        self._flows = flows
        flows = self._mean * flows
        return flows if self._bias is None else flows + self._bias
