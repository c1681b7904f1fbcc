"""From the tensors of snnTorch's neurons to SI units, and back. snnTorch has no types, so its neurons are ``Any``."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import snntorch
import torch
from torch import Tensor, nn

from .._util.errors import unknown
from ..dynamics.surrogate import ArcTan, FastSigmoid, Surrogate, spike

NEURONS = {
    cls.__name__: cls
    for cls in (
        snntorch.Leaky,
        snntorch.Synaptic,
        snntorch.RLeaky,
        snntorch.RSynaptic,
        snntorch.Lapicque,
        snntorch.Alpha,
    )
}
STATES = ("mem", "syn", "spk", "syn_exc", "syn_inh")
NUMBERS = ("beta", "alpha", "threshold", "V", "graded_spikes_factor", "R", "C", "time_step", "reset_mechanism_val")
SOURCES = {
    "tau_mem": "beta",
    "tau_syn": "alpha",
    "r": "R",
    "v_threshold": "threshold",
    "V.weight": "V",
    "graded_spikes_factor.weight": "graded_spikes_factor",
}


def neurons_of(net: nn.Module) -> dict[str, Any]:
    """The snnTorch neurons of a network by name, in its order.

    Raises:
        ValueError: one of them cannot be represented; by name.
    """
    found: dict[str, Any] = {}
    for name, module in net.named_modules(remove_duplicate=False):
        if not isinstance(module, snntorch.SpikingNeuron):
            continue
        if module in found.values():
            raise ValueError(f"net: {name!r} is used twice, so its states would mix; use two neurons.")
        if type(module).__name__ not in NEURONS:
            raise unknown(f"net: neuron {name!r}", type(module).__name__, NEURONS)
        if isinstance(module, snntorch.RSynaptic) and not module.reset_delay:
            raise ValueError(f"net: RSynaptic {name!r} has reset_delay=False, which snnTorch 1.0 itself cannot run.")
        if getattr(module.spike_grad, "__qualname__", "").startswith(("SSO.", "LSO.")):
            raise ValueError(
                f"net: neuron {name!r} has random spikes (SSO, LSO), which would hide the effect of a die."
            )
        found[name] = module
    return found


def buffers_of(neuron: nn.Module) -> dict[str, Tensor]:
    """The direct buffers of a neuron, by name: its state and the numbers that are not learned."""
    return dict(neuron.named_buffers(recurse=False, remove_duplicate=False))


def to_si(neuron: Any, dt: float, dtype: torch.dtype) -> dict[str, Tensor]:
    """A neuron's numbers in SI units, by kind, detached: seconds for a decay, volts for a threshold.

    tau_mem = −dt/ln β and tau_syn = −dt/ln α; for Lapicque tau_mem = R·C·dt/time_step and r = R.
    """
    values: dict[str, Tensor] = {}
    if isinstance(neuron, snntorch.Lapicque):
        values["tau_mem"] = neuron.R.double() * neuron.C * dt / neuron.time_step
        values["r"] = neuron.R
    else:
        values["tau_mem"] = _time_constant(neuron.beta, dt)
        if hasattr(neuron, "alpha"):
            values["tau_syn"] = _time_constant(neuron.alpha, dt)
    values["v_threshold"] = neuron.threshold
    if hasattr(neuron, "V"):
        values["V.weight"] = neuron.V
    factor = neuron.graded_spikes_factor
    if isinstance(factor, nn.Parameter) or bool((factor != 1).any()):
        values["graded_spikes_factor.weight"] = factor
    return {name: value.detach().clone().to(dtype) for name, value in values.items()}


def _time_constant(decay: Tensor, dt: float) -> Tensor:
    return -dt / decay.detach().double().log()


def from_si(neuron: Any, values: Mapping[str, Tensor], dt: float) -> dict[str, Tensor]:
    """The tensors of a neuron, under snnTorch's names, for these values; the inverse of :func:`to_si`."""
    tensors = {}
    for name, value in values.items():
        if name in ("tau_mem", "tau_syn") and not isinstance(neuron, snntorch.Lapicque):
            tensors[SOURCES[name]] = torch.exp(-dt / value)
        elif name not in ("tau_mem", "r"):
            tensors[SOURCES[name]] = value
    if isinstance(neuron, snntorch.Lapicque):
        r = values.get("r", neuron.R)
        tau = values["tau_mem"] if "tau_mem" in values else neuron.R * neuron.C * (dt / neuron.time_step)
        tensors |= {"R": r, "C": tau / r * (neuron.time_step / dt)}
    return tensors


def is_trained(neuron: Any, name: str) -> bool:
    """True if this number is trained in the user's network."""
    source = getattr(neuron, SOURCES[name], None)
    return isinstance(source, nn.Parameter) and source.requires_grad


def check_range(neuron: str, name: str, value: Tensor) -> None:
    """Raise ValueError for a number outside its range in SI units."""
    if name in ("tau_mem", "tau_syn", "r", "v_threshold") and not (torch.isfinite(value) & (value > 0)).all():
        source = f"{neuron}.{SOURCES[name]}"
        want = "a decay in (0, 1)" if name.startswith("tau") else "values > 0"
        raise ValueError(
            f"net: {source} gives {name} = {value.tolist()}; expected {want}. kinds={{{source!r}: 'digital'}} keeps "
            f"it constant, neither attacked nor trained."
        )


def prepared(net: nn.Module) -> nn.Module:
    """A copy of a network without state; its numbers are buffers, its surrogates work under vmap and in float64."""
    memo: dict[int, object] = {}
    for neuron in neurons_of(net).values():
        for state in STATES:
            if isinstance(tensor := buffers_of(neuron).get(state), Tensor):
                memo[id(tensor)] = tensor.new_zeros(0)
        if isinstance(reset := neuron.__dict__.get("reset"), Tensor):
            memo[id(reset)] = reset.new_zeros(0)
        for tensor in buffers_of(neuron).values():
            if not tensor.is_leaf and id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach().clone()  # Lapicque's C follows from its β
    inner = copy.deepcopy(net, memo)
    for neuron in neurons_of(inner).values():
        for source in ("beta", "alpha", "threshold", "V", "graded_spikes_factor"):
            _to_buffer(neuron, source)
        if hasattr(neuron, "V"):  # its one-to-one connection holds the same tensor
            recurrent = neuron.recurrent
            if hasattr(recurrent, "V"):
                del recurrent.V
            recurrent.register_buffer("V", neuron.V)
        surrogate = surrogate_of(neuron)
        neuron.spike_grad = _Typed(neuron.spike_grad) if surrogate is None else _Surrogate(surrogate)
    return inner


def _to_buffer(neuron: Any, name: str) -> None:
    if isinstance(value := getattr(neuron, name, None), nn.Parameter):
        delattr(neuron, name)
        neuron.register_buffer(name, value.detach())


class _Typed:
    """A spike function whose spikes have the type of the membrane; snnTorch's are float32 always."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.function = function

    def __call__(self, u: Tensor) -> Tensor:
        return self.function(u).to(u.dtype)


class _Surrogate:
    """A spike function u → z with snnTorch's interface and one of our surrogates: the same values and gradients, and it
    works under ``torch.func.vmap``."""

    def __init__(self, surrogate: Surrogate):
        self.surrogate = surrogate

    def __call__(self, u: Tensor) -> Tensor:
        return spike(u, torch.zeros((), dtype=u.dtype, device=u.device), self.surrogate)


def surrogate_of(neuron: Any) -> Surrogate | None:
    """Our surrogate for a neuron's ``spike_grad``; None if we have none."""
    function = neuron.spike_grad
    if isinstance(function, _Surrogate):
        return function.surrogate
    if not inspect.isfunction(function) or function.__module__ != "snntorch.surrogate":
        return None
    settings = inspect.getclosurevars(function).nonlocals
    if function.__qualname__.startswith("fast_sigmoid."):
        return FastSigmoid(float(settings["slope"]))
    if function.__qualname__.startswith("atan."):
        return ArcTan(float(settings["alpha"]))
    return None
