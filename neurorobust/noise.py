"""Noise that is new in every time step, as tensors that are given to a run: nothing here draws behind its back.

:class:`Noise` is all that a run has to take. A network would use it in two places, ``signal`` being the input ``"x"``
or the output of a layer, shape (T, B, n)::

    heard   = noise.heard(source, signal)              # what other layers hear of it
    current = noise.driven(layer, layer.current(…))    # what a layer integrates

Each function below makes such tensors from a generator; the same generator state gives the same noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .errors import check_finite, check_number, check_positive


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of one run, by the name of a layer, or ``"x"`` for the input.

    Attributes:
        added: (T, B, n), added to the current into a layer, in its unit (V where r is 1).
        kept: (T, B, n) or anything that broadcasts to it, by which a signal is multiplied on its way to other layers:
            0 where a spike is lost, (n,) zeros and ones for dead neurons. It leaves a layer's own recurrence alone.
    """

    added: Mapping[str, Tensor] = field(default_factory=dict)
    kept: Mapping[str, Tensor] = field(default_factory=dict)

    def heard(self, source: str, signal: Tensor) -> Tensor:
        """What is heard of a signal (T, B, n)."""
        return signal * self.kept[source].to(signal) if source in self.kept else signal

    def driven(self, layer: str, current: Tensor) -> Tensor:
        """A current (T, B, n) with its noise."""
        return current + self.added[layer].to(current) if layer in self.added else current


def membrane(
    sigma: float | Tensor, tau_mem: Tensor, dt: float, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """White noise on the current that gives the membrane a standard deviation of sigma, whatever dt is.

    ::

        n[t] = sigma · √coth(dt / (2 tau_mem)) · ξ[t]          so that  v ← αv + (1 − α) n  has  var v → sigma²

    with α = exp(−dt/tau_mem) and no spikes: an Ornstein-Uhlenbeck process, sampled exactly. It starts at rest; after t
    steps its variance is sigma² (1 − α^(2t)). Divide by r where r is not 1. A layer whose current passes a synapse
    (tau_syn) filters it once more.

    Args:
        sigma: V, ≥ 0, a number or one per neuron. tau_mem: s, (n,). dt: s. shape: (T, B).

    Returns:
        (T, B, n), type of tau_mem; differentiable in sigma and tau_mem.
    """
    check_positive("tau_mem", tau_mem.detach())
    sigma = torch.as_tensor(sigma, dtype=tau_mem.dtype)
    check_finite({"sigma": sigma.detach()})
    if (sigma < 0).any():
        raise ValueError(f"sigma: smallest value is {float(sigma.detach().min()):g}; expected values ≥ 0.")
    xi = torch.randn(*shape, len(tau_mem), generator=generator, dtype=tau_mem.dtype).to(tau_mem.device)
    return sigma / torch.tanh(check_number("dt", dt, strict=True) / (2 * tau_mem)).sqrt() * xi


def read(x: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """What fresh read noise on every weight in every step adds to the current of a dense layer.

    Weights w[i, j] + sigma[i, j] · ξ with a new ξ for every step, sample and synapse add Σ_j x[j] sigma[i, j] ξ to
    neuron i: one normal of variance Σ_j x[j]² sigma[i, j]², so no (T, B, n_out, n_in) numbers are drawn.

    Args:
        x: (T, B, n_in). sigma: of each weight, in its unit, (n_out, n_in), ≥ 0.

    Returns:
        (T, B, n_out).
    """
    if sigma.ndim != 2 or x.shape[-1] != sigma.shape[1]:
        raise ValueError(
            f"sigma: got shape {tuple(sigma.shape)} for x of shape {tuple(x.shape)}; expected (n_out, {x.shape[-1]})."
        )
    variance = x.square() @ sigma.square().T
    drawn = variance > 0
    spread = torch.where(drawn, variance, 1.0).sqrt() * drawn  # a root whose slope at 0 is not infinite
    return spread * torch.randn(variance.shape, generator=generator, dtype=variance.dtype).to(variance.device)


def survival(shape: tuple[int, ...], p: float, generator: torch.Generator) -> Tensor:
    """1 where a spike arrives, 0 where it is lost, which it is with probability p: for ``Noise.kept``, float32."""
    return (torch.rand(shape, generator=generator) >= _probability(p)).float()


def lose(events: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Event counts, each event of which is lost by itself with probability p.

    Args:
        events: whole numbers ≥ 0, any shape.
    """
    _check_counts(events)
    kept = torch.full_like(events, 1 - _probability(p), dtype=torch.float64)
    return torch.binomial(events.double(), kept, generator=generator).to(events)


def jitter(events: Tensor, sigma: float, dt: float, generator: torch.Generator) -> Tensor:
    """Event counts, each event of which is moved in time by N(0, sigma²), to the nearest step, by itself.

    An event that leaves the recording is lost: ``events.sum() − result.sum()`` of them.

    Args:
        events: (B, T, n), batch first, whole numbers ≥ 0. sigma: s, ≥ 0. dt: s.
    """
    _check_counts(events)
    steps = check_number("sigma", sigma) / check_number("dt", dt, strict=True)
    sample, time, channel = torch.repeat_interleave(events.nonzero(), events[events > 0].long(), 0).unbind(1)
    moves = (steps * torch.randn(len(time), generator=generator, dtype=torch.float64)).round().long()
    time = time + moves.to(time.device)
    inside = (time >= 0) & (time < events.shape[1])
    here = (sample[inside], time[inside], channel[inside])
    return torch.zeros_like(events).index_put(here, torch.ones((), dtype=events.dtype).to(events), accumulate=True)


def _probability(p: float) -> float:
    if check_number("p", p) > 1:
        raise ValueError(f"p: got {p!r}; expected a probability, 0 to 1.")
    return float(p)


def _check_counts(events: Tensor) -> None:
    check_finite({"events": events})
    if events.numel() and (events.min() < 0 or (events != events.round()).any()):
        raise ValueError(
            f"events: got values from {float(events.min()):g} to {float(events.max()):g}, not all whole numbers ≥ 0; "
            f"expected counts."
        )
