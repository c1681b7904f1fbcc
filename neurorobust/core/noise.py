"""Noise that is new in every time step. Its tensors are arguments of a run; a run draws no random numbers.

``nr.run(…, noise=…)`` takes a :class:`Noise`. A network uses it in three places. ``signal`` is the input ``"x"`` or the
output of a layer, of shape (T, B, n)::

    x       = noise.transmitted(source, signal)        # the signal for the next layers and the recurrence
    current = noise.driven(layer, layer.current(…))    # the current that a layer integrates
    current + noise.read_error(f"{layer}.input", layer.input, x, dt)     # synapses with new read noise in every step

Each function below makes such tensors from a generator; equal generator states give equal noise. A
:class:`Source` belongs to a chip model: it makes the tensors for every layer on the chip.

Example:
    >>> import chipmodels
    >>> chipmodels.load("dynapse2").with_noise(nr.noise.Membrane(0.05)).label
    'dynapse2, Membrane 0.05'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol

import torch
from torch import Tensor

from .._util.errors import check_finite, check_number, check_positive, unknown

INPUT = "x"


class Readable(Protocol):
    """A connection whose weight noise can act on."""

    def through(self, weight: Tensor, x: Tensor, dt: float) -> Tensor:
        """The output for an input, with another weight and without the bias."""


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of one run, by the name of a layer, or ``"x"`` for the input.

    Attributes:
        added: (T, B, n), added to the current into a layer, in its unit (V where r is 1).
        kept: (T, B, n) or a shape that broadcasts to it; a factor of a signal for every layer that receives it, and for
            the recurrence: 0 for a lost spike, (n,) zeros and ones for dead neurons. A run records and decodes the
            output of the layer before this factor.
        read: by the name of a connection, ``"hidden.input"`` or ``"hidden.recurrent"``: the standard deviation of each
            weight, in its unit and shape, and standard normals (T, B, n_out); see :meth:`read_error`.

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.ones(1, 1)), tau_mem=0.02)
        >>> network = nr.Network({"readout": readout}, dt=1e-3, decode=nr.nn.last_step)
        >>> x, lost = torch.ones(1, 100, 1), nr.core.Noise(kept={"x": torch.zeros(1)})  # no event arrives
        >>> [round(nr.run(network, nr.nominal(network), x, noise=noise).item(), 2) for noise in (None, lost)]
        [0.99, 0.0]
    """

    added: Mapping[str, Tensor] = field(default_factory=dict)
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    read: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def transmitted(self, source: str, signal: Tensor) -> Tensor:
        """A signal (T, B, n) as the next layers receive it."""
        return signal * self.kept[source].to(signal) if source in self.kept else signal

    def driven(self, layer: str, current: Tensor) -> Tensor:
        """A current (T, B, n) with its noise."""
        return current + self.added[layer].to(current) if layer in self.added else current

    def read_error(self, name: str, connection: Readable, x: Tensor, dt: float) -> Tensor | float:
        """The current (T, B, n_out) that read noise of a connection adds, for an input (T, B, n_in).

        Weights w[i, j] + sigma[i, j] · ξ with a new ξ for every step, sample and synapse add Σ_j x[j] sigma[i, j] ξ to
        neuron i: one normal of variance Σ_j x[j]² sigma[i, j]², so no (T, B, n_out, n_in) numbers are drawn.
        """
        if name not in self.read:
            return 0.0
        sigma, xi = self.read[name]
        return root(connection.through(sigma.to(x).square(), x.square(), dt)) * xi.to(x)

    def and_(self, other: Noise) -> Noise:
        """The combination of two noises: added currents are summed, factors are multiplied."""
        added, kept, read = dict(self.added), dict(self.kept), dict(self.read)
        for name, value in other.added.items():
            added[name] = added[name] + value if name in added else value
        for name, value in other.kept.items():
            kept[name] = kept[name] * value if name in kept else value
        for name, reading in other.read.items():
            if name in read:
                raise ValueError(f"read: two sources of noise for {name!r}; combine them into one, √(σ₁² + σ₂²).")
            read[name] = reading
        return Noise(added, kept, read)

    def check(self, sizes: Mapping[str, int], connections: Mapping[str, int], steps: tuple[int, int]) -> None:
        """Raise ValueError unless the noise fits a network.

        Args:
            sizes: features of the input and of every layer. connections: outputs of every connection that can be read.
            steps: T and B.
        """
        for name in self.added:
            if name not in sizes or name == INPUT:
                raise unknown("noise.added: layer", name, set(sizes) - {INPUT})
        for name in self.kept:
            if name not in sizes:
                raise unknown("noise.kept: layer", name, sizes)
        for name in self.read:
            if name not in connections:
                raise unknown("noise.read: connection", name, connections)
        parts = (
            *(("added", name, value, sizes[name]) for name, value in self.added.items()),
            *(("kept", name, value, sizes[name]) for name, value in self.kept.items()),
            *(("read", name, value[1], connections[name]) for name, value in self.read.items()),
        )
        for part, name, value, n in parts:
            full = (*steps, n)
            if value.shape != full and (
                part != "kept" or value.ndim > 3 or any(a not in (1, b) for a, b in zip(value.shape[::-1], full[::-1]))
            ):
                raise ValueError(
                    f"noise.{part}[{name!r}]: got shape {tuple(value.shape)}; expected (T, B, n) = {full}."
                )
            check_finite({f"noise.{part}[{name!r}]": value})


def membrane(
    sigma: float | Tensor, tau_mem: Tensor, dt: float, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """White noise on the current that gives the membrane a standard deviation of sigma for every dt.

    ::

        n[t] = sigma · √coth(dt / (2 tau_mem)) · ξ[t]          so that  v ← αv + (1 − α) n  has  var v → sigma²

    with α = exp(−dt/tau_mem) and no spikes: an Ornstein-Uhlenbeck process, sampled exactly. The membrane starts at
    rest; after t steps its variance is sigma² (1 − α^(2t)). Divide by r where r is not 1. A layer whose current passes
    a synapse (tau_syn) filters the noise once more.

    Args:
        sigma: V, ≥ 0, a number or one per neuron. tau_mem: s, (n,). dt: s. shape: (T, B).

    Returns:
        (T, B, n), type of tau_mem; differentiable in sigma and tau_mem.

    Raises:
        ValueError: a time constant or dt that is not above 0, or a negative sigma.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> n = nr.noise.membrane(0.1, torch.tensor([0.02]), 1e-3, (5000, 1), generator)
        >>> n.shape, round(float(n.std()), 2)  # √40 · 0.1 V on the current makes 0.1 V on the membrane
        (torch.Size([5000, 1, 1]), 0.63)
    """
    check_positive("tau_mem", tau_mem.detach())
    sigma = torch.as_tensor(sigma, dtype=tau_mem.dtype)
    check_finite({"sigma": sigma.detach()})
    if (sigma < 0).any():
        raise ValueError(f"sigma: smallest value is {float(sigma.detach().min()):g}; expected values ≥ 0.")
    xi = torch.randn(*shape, len(tau_mem), generator=generator, dtype=tau_mem.dtype).to(tau_mem.device)
    return sigma / torch.tanh(check_number("dt", dt, strict=True) / (2 * tau_mem)).sqrt() * xi


def root(variance: Tensor) -> Tensor:
    """√variance, with a finite gradient at 0."""
    drawn = variance > 0
    return torch.where(drawn, variance, 1.0).sqrt() * drawn


def survival(shape: tuple[int, ...], p: float, generator: torch.Generator) -> Tensor:
    """Zeros with probability p (a lost spike), else ones: for ``Noise.kept``, float32."""
    return (torch.rand(shape, generator=generator, dtype=torch.float32) >= _probability(p)).float()


def lose(events: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Event counts in which each event is lost independently with probability p.

    Args:
        events: whole numbers ≥ 0, any shape.

    Raises:
        ValueError: events that are no whole numbers ≥ 0.

    Example:
        >>> nr.noise.lose(torch.full((10_000,), 1.0), 0.1, torch.Generator().manual_seed(0)).mean().item()
        0.89410001039505
    """
    _check_counts(events)
    kept = torch.full_like(events, 1 - _probability(p), dtype=torch.float64)
    return torch.binomial(events.double(), kept, generator=generator).to(events)


def jitter(events: Tensor, sigma: float, dt: float, generator: torch.Generator) -> Tensor:
    """Event counts in which each event is moved in time, independently, by N(0, sigma²), rounded to steps.

    An event that leaves the recording is lost: ``events.sum() − result.sum()`` of them.

    Args:
        events: (B, T, n), batch first, whole numbers ≥ 0. sigma: s, ≥ 0. dt: s.

    Raises:
        ValueError: events that are no whole numbers ≥ 0, a negative ``sigma``, or ``dt`` not above 0.

    Example:
        >>> events = torch.zeros(1, 100, 1)
        >>> events[0, 50] = 1000  # a thousand events in one step of 1 ms
        >>> moved = nr.noise.jitter(events, 2e-3, 1e-3, torch.Generator().manual_seed(0))
        >>> int(moved.sum()), int((moved > 0).sum())  # none is lost; they are spread over 13 steps
        (1000, 13)
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
    p = check_number("p", p)
    if p > 1:
        raise ValueError(f"p: got {p!r}; expected a probability, 0 to 1.")
    return float(p)


def _check_counts(events: Tensor) -> None:
    check_finite({"events": events})
    if events.numel() and (events.min() < 0 or (events != events.round()).any()):
        raise ValueError(
            f"events: got values from {float(events.min()):g} to {float(events.max()):g}, not all whole numbers ≥ 0; "
            f"expected counts."
        )


# ---- noise of a chip model


@dataclass(frozen=True)
class Place:
    """The programmed numbers of a layer that a source of noise needs; (n,) each.

    Attributes:
        weights: by the name of a connection that can be read. unread: weights that read noise cannot reach.
    """

    layer: str
    n: int
    v_threshold: Tensor | None = None
    tau_mem: Tensor | None = None
    tau_syn: Tensor | None = None
    r: Tensor | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Noise of every die of a chip, new in every time step; a subclass is frozen and adds its level, ≥ 0.

    Attributes:
        status, source: the provenance of the level; see :class:`neurorobust.chip.SourcedValue`.

    Raises:
        ValueError: the level is negative or not finite.

    Example:
        >>> sources = nr.noise.SpikeLoss(0.01), nr.noise.Jitter(1e-3)
        >>> [source.level for source in sources]
        [0.01, 0.001]
    """

    status: str = field(default="assumed", kw_only=True)
    source: str = field(default="the level asked for", kw_only=True)

    def __post_init__(self) -> None:
        check_number(fields(self)[-1].name, self.level)

    @property
    def level(self) -> float:
        """The level of the noise."""
        return getattr(self, fields(self)[-1].name)

    def events(self, x: Tensor, dt: float, generator: torch.Generator) -> Tensor:
        """The input (B, T, n) with this noise, batch first."""
        return x

    def draw(self, places: Sequence[Place], shape: tuple[int, int], dt: float, generator: torch.Generator) -> Noise:
        """The tensors of one run of T steps and B samples, ``shape`` = (T, B)."""
        return Noise()


@dataclass(frozen=True)
class Membrane(Source):
    """White noise on every neuron's current that makes its membrane fluctuate, without spikes, by ``sigma`` thresholds.

    See :func:`membrane`. Where the current passes a synapse (tau_syn), the noise is coloured so that the filter of the
    synapse makes it white again. A layer without threshold or tau_mem has no such noise.

    Attributes:
        sigma: standard deviation, as a fraction of the programmed v_threshold.

    Example:
        >>> chip = nr.mismatch(0.1).with_noise(nr.noise.Membrane(0.05))  # 5 % of the threshold, on every die
        >>> chip.noise[0].sigma, chip.noise[0].status
        (0.05, 'assumed')
    """

    sigma: float

    def draw(self, places: Sequence[Place], shape: tuple[int, int], dt: float, generator: torch.Generator) -> Noise:
        added = {}
        for place in places:
            if place.v_threshold is None or place.tau_mem is None:
                continue
            current = membrane(self.sigma * place.v_threshold.abs(), place.tau_mem, dt, shape, generator)
            if place.r is not None:
                current = current / place.r
            if place.tau_syn is not None:
                syn = torch.exp(-dt / place.tau_syn)
                before = torch.cat([torch.zeros_like(current[:1]), current[:-1]])
                current = (current - syn * before) / (1 - syn)
            added[place.layer] = current
        return Noise(added=added)


@dataclass(frozen=True)
class SpikeLoss(Source):
    """Each input event and each spike on the chip is lost independently with probability p, for all its targets.

    Attributes:
        p: 0 to 1.

    Example:
        >>> lossy = nr.noise.SpikeLoss(0.1)
        >>> lossy.events(torch.full((1, 1, 10_000), 1.0), 1e-3, torch.Generator().manual_seed(0)).mean().item()
        0.89410001039505
    """

    p: float

    def __post_init__(self) -> None:
        _probability(self.p)

    def events(self, x: Tensor, dt: float, generator: torch.Generator) -> Tensor:
        return lose(x, self.p, generator)

    def draw(self, places: Sequence[Place], shape: tuple[int, int], dt: float, generator: torch.Generator) -> Noise:
        return Noise(kept={place.layer: survival((*shape, place.n), self.p, generator) for place in places})


@dataclass(frozen=True)
class Jitter(Source):
    """Every event of the input arrives N(0, sigma²) early or late; see :func:`jitter`.

    Attributes:
        sigma: s.

    Example:
        >>> nr.mismatch(0.1).with_noise(nr.noise.Jitter(2e-3)).noise[0].sigma  # s
        0.002
    """

    sigma: float

    def events(self, x: Tensor, dt: float, generator: torch.Generator) -> Tensor:
        return jitter(x, self.sigma, dt, generator)


@dataclass(frozen=True)
class Read(Source):
    """Every weight gets new noise in every step: w (1 + fraction · ξ), independent of the step before.

    The read noise of a memory cell is mostly slow: that of a chip model is constant during a run
    (:meth:`neurorobust.chip.Die.deviations`).

    Attributes:
        fraction: of each weight.

    Raises:
        TypeError: in a run, a weight inside a ``Delayed`` or a ``Chain``.

    Example:
        >>> nr.mismatch(0.1).with_noise(nr.noise.Read(0.02)).noise[0].fraction
        0.02
    """

    fraction: float

    def draw(self, places: Sequence[Place], shape: tuple[int, int], dt: float, generator: torch.Generator) -> Noise:
        for place in places:
            if place.unread:
                raise TypeError(
                    f"Read: {', '.join(place.unread)} is inside a Delayed or a Chain, which read noise does not reach; "
                    f"leave Read out, or connect the layer without one."
                )
        return Noise(
            read={
                name: (
                    self.fraction * weight.abs(),
                    torch.randn(*shape, place.n, generator=generator, dtype=weight.dtype).to(weight.device),
                )
                for place in places
                for name, weight in place.weights.items()
            }
        )


def together(noises: Iterable[Noise]) -> Noise:
    """The combination of all noises."""
    total = Noise()
    for noise in noises:
        total = total.and_(noise)
    return total
