"""The time loops in plain torch: any device, any float type, readable as the equations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..dynamics.resets import Dynamics
from ..dynamics.surrogate import spike
from .layer import FlooredCoefficients, FlooredDynamics, LifCoefficients


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x weightᵀ + bias; see :func:`neurorobust.kernels.linear`."""
    return functional.linear(x, weight, bias)


def lif(
    current: Tensor, recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics, membrane: bool
) -> tuple[Tensor, Tensor | None]:
    """Spikes and membrane of leaky integrate-and-fire neurons; see :func:`neurorobust.kernels.lif`."""
    z = b = syn = countdown = torch.zeros_like(current[0])
    leak = None if c.v_leak is None else (1 - c.alpha) * c.v_leak
    v = z if c.v_leak is None else z + c.v_leak
    spikes, trace = [], []
    base_threshold = c.v_threshold
    for step in current:
        if c.rho is not None and c.adaptation is not None:
            b = c.rho * b + (1 - c.rho) * z
            c = c._replace(v_threshold=base_threshold + c.adaptation * b)
        drive = step if recurrent is None else step + z @ recurrent.T
        syn = drive if c.syn is None else c.syn * syn + drive
        past = z.detach() if dynamics.reset.detach else z
        barrier = dynamics.reset.barrier(v, z, c)
        v = dynamics.reset.decayed(v, past, c) + c.gain * syn
        v = v if leak is None else v + leak
        z = spike(v if barrier is None else v - barrier, c.v_threshold, dynamics.surrogate)
        if c.refractory is not None:
            z = torch.where(countdown > 0, torch.zeros_like(z), z)
            countdown = torch.where(z.detach() > 0, c.refractory, countdown - 1)
        spikes.append(z)
        if membrane:
            trace.append(dynamics.reset.membrane(v, z.detach() if dynamics.reset.detach else z, c))
    return torch.stack(spikes), torch.stack(trace) if membrane else None


def floored(
    current: Tensor,
    recurrent: Tensor | None,
    c: FlooredCoefficients,
    dynamics: FlooredDynamics,
    pushed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Spikes, and the membrane above the floor; see :func:`neurorobust.kernels.floored`."""
    excitation, inhibition = current.chunk(2, -1)
    z = exc = inh = v = b = countdown = torch.zeros_like(excitation[0])
    leak = torch.zeros_like(c.alpha) if c.v_leak is None else c.v_leak
    reset = torch.zeros_like(c.alpha) if c.v_reset is None else c.v_reset - leak
    threshold, spikes, trace = c.v_threshold, [], []
    positive = None if recurrent is None else recurrent.clamp(min=0)
    for t, (excite, inhibit) in enumerate(zip(excitation, inhibition)):
        if recurrent is not None and positive is not None:
            excite, inhibit = excite + z @ positive.T, inhibit + z @ (positive - recurrent).T
        exc = c.syn_exc * exc + excite
        inh = c.syn_inh * inh + inhibit
        v = dynamics.inhibition.driven(c.alpha * v, c.gain_exc * exc, c.gain_inh * inh, c.lift, dynamics.floor)
        v = v if pushed is None else v + pushed[t]
        if c.rho is not None:
            b = c.rho * b + z
            v = v if c.ahp is None else v - c.ahp * b
            threshold = c.v_threshold if c.raised is None else c.v_threshold + c.raised * b
        trace.append(v - (c.v_floor - leak))
        v = dynamics.floor.limited(v, c.v_floor - leak)
        z = spike(v + leak, threshold, dynamics.surrogate)
        if c.refractory is not None:
            held = countdown > 0
            v, z = torch.where(held, reset, v), torch.where(held, torch.zeros_like(z), z)
            countdown = torch.where(z.detach() > 0, c.refractory, countdown - 1)
        v = v - z * (v - reset)
        spikes.append(z)
    return torch.stack(spikes), torch.stack(trace).detach()


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """Membrane of leaky integrators; see :func:`neurorobust.kernels.leaky_integrator`."""
    v = torch.zeros_like(current[0])
    trace = []
    for step in current:
        v = alpha * v + gain * step
        trace.append(v)
    return torch.stack(trace)
