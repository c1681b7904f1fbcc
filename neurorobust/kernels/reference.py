"""The time loops in plain torch: any device, any float type, readable as the equations."""

from __future__ import annotations

import torch
from torch import Tensor

from ..surrogate import Surrogate, spike
from .interface import Coefficients, LifCoefficients
from .reset import Dynamics


def adaptive_lif(
    current: Tensor, recurrent: Tensor | None, c: Coefficients, surrogate: Surrogate, refractory: int
) -> Tensor:
    """Spikes of adaptive leaky integrate-and-fire neurons; see :func:`neurorobust.kernels.adaptive_lif`."""
    v = b = z = torch.zeros_like(current[0])
    silent = torch.zeros_like(current[0])
    spikes = []
    for step in current:
        b = c.rho * b + (1 - c.rho) * z
        threshold = c.v_threshold + c.adaptation * b
        drive = step if recurrent is None else step + z @ recurrent.T
        v = c.alpha * v + c.gain * drive - z * threshold
        z = spike(v, threshold, surrogate)
        if refractory:
            z = torch.where(silent > 0, torch.zeros_like(z), z)
            silent = torch.where(z.detach() > 0, float(refractory), silent - 1)
        spikes.append(z)
    return torch.stack(spikes)


def lif(current: Tensor, recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """Spikes and membrane of leaky integrate-and-fire neurons; see :func:`neurorobust.kernels.lif`."""
    z = syn = silent = torch.zeros_like(current[0])
    leak = None if c.v_leak is None else (1 - c.alpha) * c.v_leak
    v = z if c.v_leak is None else z + c.v_leak
    spikes, trace = [], []
    for step in current:
        drive = step if recurrent is None else step + z @ recurrent.T
        syn = drive if c.syn is None else c.syn * syn + drive
        past = z.detach() if dynamics.reset.detach else z
        barrier = dynamics.reset.barrier(v, z, c)
        v = dynamics.reset.decayed(v, past, c) + c.gain * syn
        v = v if leak is None else v + leak
        z = spike(v if barrier is None else v - barrier, c.v_threshold, dynamics.surrogate)
        if c.refractory is not None:
            z = torch.where(silent > 0, torch.zeros_like(z), z)
            silent = torch.where(z.detach() > 0, c.refractory, silent - 1)
        spikes.append(z)
        trace.append(dynamics.reset.membrane(v, z.detach() if dynamics.reset.detach else z, c))
    return torch.stack(spikes), torch.stack(trace)


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """Membrane of leaky integrators; see :func:`neurorobust.kernels.leaky_integrator`."""
    v = torch.zeros_like(current[0])
    trace = []
    for step in current:
        v = alpha * v + gain * step
        trace.append(v)
    return torch.stack(trace)
