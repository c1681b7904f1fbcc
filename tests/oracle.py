"""The paper's equations in plain float64 torch, without the package: the tests compare the package with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Spike = Callable[[Tensor, Tensor], Tensor]


def triangle_spike(v: Tensor, threshold: Tensor, scale: float = 0.3) -> Tensor:
    """An exact step whose gradient is that of scale · (u − u·abs(u)/2), the integral of scale · max(0, 1 − abs(u))."""
    u = (v - threshold) / threshold
    inside = u.clamp(-1, 1)
    smooth = scale * (inside - inside * inside.abs() / 2)
    return (u > 0).to(v.dtype) + (smooth - smooth.detach())


def smooth_spike(v: Tensor, threshold: Tensor, *_: object) -> Tensor:
    """A differentiable stand-in for a spike, for finite differences."""
    return torch.sigmoid(4 * (v - threshold) / threshold)


def population(
    current: Tensor,
    recurrent: Tensor | None,
    alpha: Tensor,
    gain: Tensor,
    rho: Tensor,
    adaptation: Tensor,
    v_threshold: Tensor,
    refractory: int,
    spike: Spike = triangle_spike,
) -> tuple[Tensor, Tensor]:
    """Spikes and (v − ϑ) of adaptive LIF neurons, (T, B, n), one equation per line; refractory counts silent steps."""
    steps, batch, n = current.shape
    v = torch.zeros(batch, n, dtype=current.dtype)
    b = torch.zeros_like(v)
    z = torch.zeros_like(v)
    past: list[Tensor] = []
    spikes: list[Tensor] = []
    gaps: list[Tensor] = []
    for t in range(steps):
        b = rho * b + (1 - rho) * z
        threshold = v_threshold + adaptation * b
        drive = current[t] if recurrent is None else current[t] + z @ recurrent.T
        v = alpha * v + gain * drive - z * threshold
        z = spike(v, threshold)
        for earlier in past[-refractory:] if refractory else ():
            z = z * (earlier.detach() == 0)
        past.append(z)
        spikes.append(z)
        gaps.append(v - threshold)
    return torch.stack(spikes), torch.stack(gaps).detach()


def integrate(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """v[t] = Σ_s alpha^(t−s) gain · current[s]: the leaky integrator as its impulse response, not as a loop."""
    steps = current.shape[0]
    lag = (torch.arange(steps)[:, None] - torch.arange(steps)[None, :]).to(current.dtype)
    response = torch.where(lag[..., None] >= 0, alpha ** lag.clamp(min=0)[..., None], torch.zeros(()))
    return torch.einsum("tsn,sbn->tbn", response, gain * current)


def network(
    p: Mapping[str, Tensor], x: Tensor, dt: float, masks: Mapping[str, Tensor], spike: Spike = triangle_spike
) -> tuple[Tensor, Tensor]:
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


def expand(params: Mapping[str, Tensor], cores: Sequence[int] = (0, 0, 0, 1, 1, 1)) -> dict[str, Tensor]:
    """One value per neuron of the test network, whatever each parameter was set as."""
    result = dict(params)
    for name in ("hidden.tau_mem", "hidden.v_threshold"):
        result[name] = params[name][list(cores)]
    result["hidden.tau_adapt"] = params["hidden.tau_adapt"].expand(6)
    result["readout.tau_mem"] = params["readout.tau_mem"].expand(2)
    return result


def kl(attacked: Tensor, clean: Tensor) -> Tensor:
    """Σ p (log p − log max(q, 1e-6)), batch mean, with p the clean and q the attacked softmax."""
    p, q = torch.softmax(clean, -1), torch.softmax(attacked, -1)
    return (p * (torch.log(p) - torch.log(torch.clamp(q, min=1e-6)))).sum(-1).mean()


def is_signed(name: str) -> bool:
    return name.endswith(("weight", "bias"))


def deviate(params: Mapping[str, Tensor], deviations: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """θ + abs(θ)·δ for weights and biases, θ·e^δ for the rest; ``params`` expanded."""
    return {
        name: value
        if name not in deviations
        else value + value.abs() * deviations[name]
        if is_signed(name)
        else value * torch.exp(deviations[name])
        for name, value in params.items()
    }
