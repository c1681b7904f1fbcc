"""What the tests hold the package against: the paper's equations in plain float64 torch, without the package."""

from __future__ import annotations

import torch


def triangle_spike(v, threshold, scale=0.3):
    """An exact step whose slope is that of scale · (u − u·abs(u)/2), the integral of scale · max(0, 1 − abs(u))."""
    u = (v - threshold) / threshold
    inside = u.clamp(-1, 1)
    smooth = scale * (inside - inside * inside.abs() / 2)
    return (u > 0).to(v.dtype) + (smooth - smooth.detach())


def smooth_spike(v, threshold, *_):
    """A differentiable stand-in for a spike, for finite differences."""
    return torch.sigmoid(4 * (v - threshold) / threshold)


def population(current, recurrent, alpha, gain, rho, adaptation, v_threshold, refractory, spike=triangle_spike):
    """Spikes and (v − ϑ) of adaptive LIF neurons, (T, B, n), one equation a line; refractory counts silent steps."""
    steps, batch, n = current.shape
    v = torch.zeros(batch, n, dtype=current.dtype)
    b = torch.zeros_like(v)
    z = torch.zeros_like(v)
    past, spikes, gaps = [], [], []
    for t in range(steps):
        b = rho * b + (1 - rho) * z
        bound = v_threshold + adaptation * b
        drive = current[t] if recurrent is None else current[t] + z @ recurrent.T
        v = alpha * v + gain * drive - z * bound
        z = spike(v, bound)
        for earlier in past[-refractory:] if refractory else ():
            z = z * (earlier.detach() == 0)
        past.append(z)
        spikes.append(z)
        gaps.append(v - bound)
    return torch.stack(spikes), torch.stack(gaps).detach()


def integrate(current, alpha, gain):
    """v[t] = Σ_s alpha^(t−s) gain · current[s]: the leaky integrator as its impulse response, not as a loop."""
    steps = current.shape[0]
    lag = (torch.arange(steps)[:, None] - torch.arange(steps)[None, :]).to(current.dtype)
    response = torch.where(lag[..., None] >= 0, alpha ** lag.clamp(min=0)[..., None], torch.zeros(()))
    return torch.einsum("tsn,sbn->tbn", response, gain * current)


def network(p, x, dt, masks, spike=triangle_spike):
    """Logits and spikes of the test network of conftest.py; ``p`` holds one value per neuron and synapse."""
    alpha = torch.exp(-dt / p["hidden.tau_mem"])
    spikes, _ = population(
        x.transpose(0, 1) @ p["hidden.input.weight"].T,
        p["hidden.recurrent.weight"] * masks["hidden.recurrent.weight"],
        alpha,
        1 - alpha,
        torch.exp(-dt / p["hidden.tau_adapt"]),
        p["hidden.adaptation"],
        p["hidden.v_threshold"],
        refractory=1,
        spike=spike,
    )
    beta = torch.exp(-dt / p["readout.tau_mem"])
    current = spikes @ p["readout.input.weight"].T + p["readout.input.bias"]
    return integrate(current, beta, 1 - beta).mean(0), spikes


def expand(params, cores=(0, 0, 0, 1, 1, 1)):
    """One value per neuron of the test network, whatever each parameter was set as."""
    result = dict(params)
    for name in ("hidden.tau_mem", "hidden.v_threshold"):
        result[name] = params[name][list(cores)]
    result["hidden.tau_adapt"] = params["hidden.tau_adapt"].expand(6)
    result["readout.tau_mem"] = params["readout.tau_mem"].expand(2)
    return result


def kl(attacked, clean):
    """Σ p (log p − log max(q, 1e-6)), batch mean, with p the clean and q the attacked softmax."""
    p, q = torch.softmax(clean, -1), torch.softmax(attacked, -1)
    return (p * (torch.log(p) - torch.log(torch.clamp(q, min=1e-6)))).sum(-1).mean()


def is_signed(name):
    return name.endswith(("weight", "bias"))


def deviate(params, deviations):
    """θ + abs(θ)·δ for weights and biases, θ·e^δ for the rest; ``params`` expanded."""
    return {
        name: value
        if name not in deviations
        else value + value.abs() * deviations[name]
        if is_signed(name)
        else value * torch.exp(deviations[name])
        for name, value in params.items()
    }
