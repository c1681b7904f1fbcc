"""A network with the neurons of a DPI chip in place of its own."""

from __future__ import annotations

import copy
import re
from typing import Any

import torch
from torch import Tensor, nn

from .._util.errors import check_number
from ..dynamics import Adaptation, AdaptiveThreshold, Inhibition, PullsDown
from .connections import Chain, Connection, Delayed
from .network import Network
from .neurons import AdaptiveLif, CubaLif, Lif, LinearizedDpi
from .neurons.neuron import SpikingNeuron, decay
from .sparse_linear import SparseLinear

THRESHOLD = AdaptiveThreshold()


def with_floor(
    network: Network,
    *,
    tau_syn: float | None = None,
    rule: Adaptation = THRESHOLD,
    inhibition: Inhibition = PullsDown(),
) -> Network:
    """The same network with :class:`LinearizedDpi` in place of its spiking neurons; a new network, not trained further.

    What stays: connections, masks, cores, tau_mem, r, v_leak, biases, thresholds, the read-out, and which parameters
    are trained. An adaptive threshold stays one, or becomes an adaptation current. **What changes**: the membrane has a
    floor at 0, a spike resets it to rest (or to v_reset, where there is one), and the membrane is held during t_ref.
    One event becomes a current that decays with tau_syn. Weights are multiplied by dt/tau_syn, so that an event carries
    the same charge as before, but later.

    Such a network computes something else than the old one. It is a start for training with the equations of the chip,
    or a measurement of what a floor does to a network that was trained without one.

    Args:
        network: of :class:`AdaptiveLif`, :class:`Lif` or :class:`CubaLif` layers; other layers are copied.
        tau_syn: time constant of the synapses of neurons that have none, s; dt by default. A :class:`CubaLif` keeps
            its own.
        rule: of an :class:`AdaptiveLif`. With ``Ahp()`` every spike subtracts from the input what it added to the
            threshold. That is the same where the adaptation is slow compared with tau_mem.
        inhibition: of the new neurons.

    Raises:
        TypeError: not a Network, or a spiking layer of another class; with every such layer.
        ValueError: tau_syn, or a connection whose weights have no sign.

    Example:
        >>> network, _ = nr.zoo.load("ecg/standard")
        >>> chip_like = nr.nn.with_floor(network, tau_syn=5e-3)
        >>> type(network.hidden).__name__, type(chip_like.hidden).__name__
        ('AdaptiveLif', 'LinearizedDpi')
    """
    if not isinstance(network, Network):
        raise TypeError(
            f"network: got a {type(network).__name__}; expected a neurorobust.nn.Network. A module of your own keeps "
            f"its own equations: put a floor into it."
        )
    filtered = network.dt if tau_syn is None else check_number("tau_syn", tau_syn, strict=True)
    layers, errors = {}, []
    for name, layer in network.layers().items():
        try:
            with torch.no_grad():
                layers[name] = _layer(name, layer, network.dt, filtered, rule, inhibition)
        except (TypeError, ValueError) as error:
            errors.append(error)
    if errors:
        raise type(errors[0])("\n".join(map(str, errors)))
    result = Network(layers, network.dt, network.inputs, network.decode)
    trained = {name: value.requires_grad for name, value in network.named_parameters()}
    for name, value in result.named_parameters():
        before = re.sub(r"\.(exc|inh)\.tau_syn$", ".tau_syn", name)  # one synapse became two
        value.requires_grad_(trained.get(before, False))
    return result.train(network.training)


def _layer(name: str, layer: nn.Module, dt: float, tau_syn: float, rule: Adaptation, inhibition: Inhibition) -> Any:
    if not isinstance(layer, SpikingNeuron):
        return copy.deepcopy(layer)
    if type(layer) not in (AdaptiveLif, Lif, CubaLif):
        raise TypeError(
            f"layer {name!r}: got a {type(layer).__name__}; expected AdaptiveLif, Lif or CubaLif, whose parameters "
            f"have a counterpart in LinearizedDpi."
        )
    own: dict[str, Any] = {kind: layer.get_parameter(kind).clone() for kind in layer.population_parameters()}
    synapse = own.pop("tau_syn", torch.full_like(own["tau_mem"], tau_syn))
    per_neuron = layer.per_neuron("tau_syn") if isinstance(layer, CubaLif) else synapse.new_full((layer.n,), tau_syn)
    if isinstance(layer, AdaptiveLif):
        one_each = own["adaptation"].shape == own["tau_adapt"].shape
        size, tau = (own[kind] if one_each else layer.per_neuron(kind) for kind in ("adaptation", "tau_adapt"))
        own["adaptation"] = size * (1 - decay(tau, dt))
        own["rule"] = rule
        own["t_ref"] = torch.full_like(own["v_threshold"], dt)
    factor = dt / per_neuron
    recurrent = None if layer.recurrent is None else _scaled(name, layer.recurrent, factor)
    return LinearizedDpi(
        _scaled(name, layer.input, factor),
        recurrent=recurrent,
        core=layer.core.clone(),
        tau_syn_exc=synapse,
        tau_syn_inh=synapse,
        inhibition=inhibition,
        surrogate=layer.surrogate,
        **own,
    )


def _scaled(name: str, connection: Connection, factor: Tensor) -> Connection:
    """A copy with weights times ``factor``, (n,)."""
    result = last = copy.deepcopy(connection)
    while isinstance(last, (Chain, Delayed)):
        last = last.connection if isinstance(last, Delayed) else last.parts()[-1]
    weight = getattr(last, "weight", None)
    if not isinstance(weight, nn.Parameter):
        raise ValueError(
            f"layer {name!r}: {type(last).__name__}: has no weights; expected a connection that excites or inhibits."
        )
    if isinstance(result, Chain) and any(next(part.parameters(), None) is not None for part in result.parts()[:-1]):
        raise ValueError(
            f"layer {name!r}: Chain: has weights before its last part; expected them in the last one only."
        )
    if isinstance(last, SparseLinear):
        weight.mul_(factor[last.pattern.targets])
    elif len(weight) == len(factor):
        weight.mul_(factor.reshape(-1, *[1] * (weight.ndim - 1)))
    elif bool((factor == factor[0]).all()):
        weight.mul_(factor[0])
    else:
        raise ValueError(
            f"layer {name!r}: tau_syn: neurons that share the weights of a {type(last).__name__} have different "
            f"values; expected one."
        )
    return result
