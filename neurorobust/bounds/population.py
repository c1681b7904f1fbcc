"""A layer of neurons at all parameters of a box."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..dynamics import DelayedSubtract, DelayedToValue, NoReset, Subtract, ToValue
from ..dynamics.surrogate import Surrogate
from ..nn.network import Network
from ..nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, Neuron
from ..nn.neurons.neuron import decay
from .box import Box, unit_of
from .interval import OURS, Interval, point
from .linear import Biased, Bounded, bounded

KNOWN = (Lif, AdaptiveLif, CubaLif, LeakyIntegrator, CubaLeakyIntegrator)
RESETS = (NoReset, DelayedSubtract, Subtract, ToValue, DelayedToValue)


@dataclass(frozen=True)
class Population:
    """What a step of one layer takes; intervals of shape (n,). The membrane is counted from v_leak, as in the kernels.

    Attributes:
        sources: what it hears. heard, recurrent: the maps from that, and from its own spikes, to its current.
        alpha, syn, rho: decays of membrane, synapse and adaptation. r: resistance.
        threshold: at rest. leak: v_leak. target: v_reset − v_leak. adaptation: threshold gained per unit of b.
        refractory: silent steps after a spike. reset: what a spike does; None for a layer that does not spike.
        unit: unit roundoff of the network's type and, a few times over, of the bounds' own.
    """

    name: str
    n: int
    sources: tuple[str, ...]
    heard: Bounded
    recurrent: Bounded | None
    alpha: Interval
    syn: Interval | None
    rho: Interval | None
    r: Interval | None
    threshold: Interval | None
    leak: Interval | None
    target: Interval | None
    adaptation: Interval | None
    refractory: Interval | None
    reset: type | None
    surrogate: Surrogate | None
    unit: float

    @property
    def to_value(self) -> bool:
        return self.reset in (ToValue, DelayedToValue)


def populations(network: Network, box: Box) -> list[Population]:
    """The layers of a network in order.

    Raises:
        TypeError: a layer, reset or connection whose bounds are not known, by name.
    """
    unit = unit_of(dict(network.named_parameters())) + 8 * OURS
    return [_population(name, layer, network, box, unit) for name, layer in network.layers().items()]


def _population(name: str, layer: Neuron, network: Network, box: Box, unit: float) -> Population:
    if type(layer) not in KNOWN:
        names = ", ".join(cls.__name__ for cls in KNOWN)
        raise TypeError(f"layer {name!r}: {type(layer).__name__} has no bounds; expected one of {names}.")
    dynamics = layer.dynamics()
    reset = None if dynamics is None else type(dynamics.reset)
    if reset is not None and reset not in RESETS:
        names = ", ".join(cls.__name__ for cls in RESETS)
        raise TypeError(f"layer {name!r}: reset {reset.__name__} has no bounds; expected one of {names}.")
    own = {kind: box[f"{name}.{kind}"] for kind, _ in layer.named_parameters(recurse=False)}
    dtype = next(layer.parameters()).dtype
    decays = {kind: _decay(tau, network.dt, unit, dtype) for kind, tau in own.items() if kind.startswith("tau_")}
    zero = point(torch.zeros(layer.n, dtype=torch.float64))
    leak = own.get("v_leak")
    target = own.get("v_reset", zero) if leak is None else own.get("v_reset", zero).minus(leak)
    recurrent, heard = layer.recurrent, bounded(layer.input, f"{name}.input", box, unit)
    own_bias = None if recurrent is None else box.get(f"{name}.recurrent.bias")
    return Population(
        name=name,
        n=layer.n,
        sources=network.inputs[name],
        heard=heard if own_bias is None else Biased(heard, own_bias),
        recurrent=None if recurrent is None else _own(recurrent, name, box, unit),
        alpha=decays["tau_mem"],
        syn=decays.get("tau_syn"),
        rho=decays.get("tau_adapt"),
        r=own.get("r"),
        threshold=own.get("v_threshold"),
        leak=leak,
        target=target,
        adaptation=own.get("adaptation"),
        refractory=_refractory(layer, own.get("t_ref"), network.dt, unit),
        reset=reset,
        surrogate=None if dynamics is None else dynamics.surrogate,
        unit=unit,
    )


def _own(recurrent: torch.nn.Module, name: str, box: Box, unit: float) -> Bounded:
    """The recurrent map without its bias, which arrives from outside."""
    whole = bounded(recurrent, f"{name}.recurrent", box, unit)  # type: ignore[arg-type]
    return whole.map if isinstance(whole, Biased) else whole


def _decay(tau: Interval, dt: float, unit: float, dtype: torch.dtype) -> Interval:
    """exp(−dt/tau) as it is computed in this type; a time constant that does not deviate has the one value that the
    layer itself uses."""
    low, high = torch.exp(-dt / tau.lo), torch.exp(-dt / tau.hi)
    slack = unit * (8 + dt / tau.lo)
    fixed, own = tau.lo == tau.hi, decay(tau.lo.to(dtype), dt).double()
    low, high = low * (1 - slack), (high * (1 + slack)).clamp(max=1)
    return Interval(torch.where(fixed, own, low), torch.where(fixed, own, high))


def _refractory(layer: Neuron, t_ref: Interval | None, dt: float, unit: float) -> Interval | None:
    if isinstance(layer, AdaptiveLif):
        return point(torch.ones(layer.n, dtype=torch.float64))
    if t_ref is None:
        return None
    return Interval((t_ref.lo / dt * (1 - 4 * unit)).round(), (t_ref.hi / dt * (1 + 4 * unit)).round())


def steady(interval: Interval) -> bool:
    """Whether no element may deviate."""
    return bool((interval.lo == interval.hi).all())
