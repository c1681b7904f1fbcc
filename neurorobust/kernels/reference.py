"""The time loops in plain torch: any device, any float type, readable as the equations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..dynamics.resets import Dynamics
from ..dynamics.surrogate import spike
from .layer import LifCoefficients


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


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """Membrane of leaky integrators; see :func:`neurorobust.kernels.leaky_integrator`."""
    v = torch.zeros_like(current[0])
    trace = []
    for step in current:
        v = alpha * v + gain * step
        trace.append(v)
    return torch.stack(trace)
