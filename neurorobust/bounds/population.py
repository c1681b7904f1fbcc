"""A layer of neurons whose parameters lie anywhere in a box."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..dynamics import DelayedSubtract, DelayedToValue, NoReset, Subtract, ToValue
from ..dynamics.surrogate import Surrogate
from ..nn.network import Network
from ..nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, Neuron
from ..nn.neurons.neuron import decay
from .box import Box, unit_of
from .interval import FLOAT64_ROUNDOFF, Interval, point_interval
from .linear import Biased, IntervalMap, interval_map

KNOWN = (Lif, AdaptiveLif, CubaLif, LeakyIntegrator, CubaLeakyIntegrator)
RESETS = (NoReset, DelayedSubtract, Subtract, ToValue, DelayedToValue)


@dataclass(frozen=True)
class Population:
    """The quantities of one layer that a time step needs, as intervals of shape (n,). The membrane is measured from
    v_leak, as in the kernels.

    Attributes:
        sources: names of the layers it gets input from. input_map, recurrent_map: from their signals, and from its own
            spikes, to its current.
        alpha_mem, alpha_syn, alpha_adapt: decays per step of membrane, synapse and adaptation. r: resistance.
        threshold: of the membrane, without adaptation. v_leak: leak potential. v_reset: v_reset − v_leak.
        adaptation: increase of the threshold per unit of b.
        refractory: refractory steps after a spike. reset: type of the reset; None for a layer without spikes.
        unit: unit roundoff of the network's type plus 8 times that of float64, in which bounds are computed.
    """

    name: str
    n: int
    sources: tuple[str, ...]
    input_map: IntervalMap
    recurrent_map: IntervalMap | None
    alpha_mem: Interval
    alpha_syn: Interval | None
    alpha_adapt: Interval | None
    r: Interval | None
    threshold: Interval | None
    v_leak: Interval | None
    v_reset: Interval | None
    adaptation: Interval | None
    refractory: Interval | None
    reset: type | None
    surrogate: Surrogate | None
    unit: float

    @property
    def resets_to_value(self) -> bool:
        return self.reset in (ToValue, DelayedToValue)


def populations(network: Network, box: Box) -> list[Population]:
    """The layers of a network in order.

    Raises:
        TypeError: a layer, reset or connection whose bounds are not known, by name.

    Example:
        >>> readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.tensor([[1.0], [-1.0]])), tau_mem=0.02)
        >>> network = nr.Network({"readout": readout}, dt=1e-3)
        >>> box = nr.bounds.box(nr.nominal(network), nr.Ball.uniform(0.1), network.placement())
        >>> layer = nr.bounds.populations(network, box)[0]
        >>> layer.name, layer.n, [round(end, 4) for end in (layer.alpha_mem.lo[0].item(), layer.alpha_mem.hi[0].item())]
        ('readout', 2, [0.9462, 0.9558])
    """
    unit = unit_of(dict(network.named_parameters())) + 8 * FLOAT64_ROUNDOFF
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
    zero = point_interval(torch.zeros(layer.n, dtype=torch.float64))
    v_leak = own.get("v_leak")
    v_reset = own.get("v_reset", zero) if v_leak is None else own.get("v_reset", zero).minus(v_leak)
    recurrent, input_map = layer.recurrent, interval_map(layer.input, f"{name}.input", box, unit)
    own_bias = None if recurrent is None else box.get(f"{name}.recurrent.bias")
    return Population(
        name=name,
        n=layer.n,
        sources=network.inputs[name],
        input_map=input_map if own_bias is None else Biased(input_map, own_bias),
        recurrent_map=None if recurrent is None else _recurrent_map(recurrent, name, box, unit),
        alpha_mem=decays["tau_mem"],
        alpha_syn=decays.get("tau_syn"),
        alpha_adapt=decays.get("tau_adapt"),
        r=own.get("r"),
        threshold=own.get("v_threshold"),
        v_leak=v_leak,
        v_reset=v_reset,
        adaptation=own.get("adaptation"),
        refractory=_refractory(layer, own.get("t_ref"), network.dt, unit),
        reset=reset,
        surrogate=None if dynamics is None else dynamics.surrogate,
        unit=unit,
    )


def _recurrent_map(recurrent: torch.nn.Module, name: str, box: Box, unit: float) -> IntervalMap:
    """The recurrent map without its bias, which is part of the input map."""
    whole = interval_map(recurrent, f"{name}.recurrent", box, unit)  # type: ignore[arg-type]
    return whole.map if isinstance(whole, Biased) else whole


def _decay(tau: Interval, dt: float, unit: float, dtype: torch.dtype) -> Interval:
    """exp(−dt/tau) as it is computed in this type. A time constant that does not deviate has exactly the value that the
    layer uses."""
    low, high = torch.exp(-dt / tau.lo), torch.exp(-dt / tau.hi)
    slack = unit * (8 + dt / tau.lo)
    fixed, own = tau.lo == tau.hi, decay(tau.lo.to(dtype), dt).double()
    low, high = low * (1 - slack), (high * (1 + slack)).clamp(max=1)
    return Interval(torch.where(fixed, own, low), torch.where(fixed, own, high))


def _refractory(layer: Neuron, t_ref: Interval | None, dt: float, unit: float) -> Interval | None:
    if isinstance(layer, AdaptiveLif):
        return point_interval(torch.ones(layer.n, dtype=torch.float64))
    if t_ref is None:
        return None
    return Interval((t_ref.lo / dt * (1 - 4 * unit)).round(), (t_ref.hi / dt * (1 + 4 * unit)).round())


def is_constant(interval: Interval) -> bool:
    """Whether no element may deviate."""
    return bool((interval.lo == interval.hi).all())
