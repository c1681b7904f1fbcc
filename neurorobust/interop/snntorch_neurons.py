"""From the tensors of snnTorch's neurons to SI units, and back. snnTorch has no types, so its neurons are ``Any``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import snntorch
import torch
from torch import Tensor, nn

from .._util.copies import copied
from .._util.warn import warn
from ..core.equations import UNKNOWN, Equations
from ..dynamics.surrogate import ArcTan, FastSigmoid, Surrogate, step
from .kinds import override

NEURONS = {
    cls.__name__: cls
    for cls in (
        snntorch.Leaky,
        snntorch.Synaptic,
        snntorch.RLeaky,
        snntorch.RSynaptic,
        snntorch.Lapicque,
        snntorch.Alpha,
        snntorch.SLSTM,
        snntorch.SConv2dLSTM,
    )
}
LSTMS = (snntorch.SLSTM, snntorch.SConv2dLSTM)
"""They have no decay: their weights are those of torch's layers inside, and nr.wrap takes them too."""
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
    """The snnTorch neurons of a network by name, in its order; one with several names under the first."""
    return {name: module for name, module in net.named_modules() if isinstance(module, snntorch.SpikingNeuron)}


def unsupported(net: nn.Module) -> dict[str, str]:
    """The parts of a network by name that are snnTorch neurons of other classes, each with the name of its class.

    A subclass of one of :data:`NEURONS` is no other class. Some of snnTorch's neurons are no ``SpikingNeuron``.
    """
    found: dict[str, str] = {}
    for name, module in net.named_modules():
        inside = any(name.startswith(f"{neuron}.") for neuron in [*found, *neurons_of(net)])
        theirs = next((cls for cls in type(module).__mro__ if cls.__module__.startswith("snntorch._neurons.")), None)
        if theirs is not None and not inside and theirs not in NEURONS.values():
            found[name] = type(module).__name__
    return found


def check_neurons(net: nn.Module) -> None:
    """Raise ValueError for the first neuron that cannot be represented, by name."""
    for name, kind in unsupported(net).items():
        raise ValueError(
            f"net: {name!r} is a {kind}; nr.from_snntorch takes {', '.join(NEURONS)} and their subclasses. nr.wrap "
            f"takes a module with it whose forward takes samples first: begin it with x = x.transpose(0, 1), and end "
            f"it with logits (B, n_classes)."
        )
    for name, neuron in neurons_of(net).items():
        if isinstance(neuron, snntorch.RSynaptic) and not neuron.reset_delay:
            raise ValueError(f"net: RSynaptic {name!r} has reset_delay=False, which snnTorch 1.0 itself cannot run.")
        if _pools(neuron):
            warn(
                f"net: the threshold of SConv2dLSTM {name!r} stays exact, as the neuron pools between its membrane and "
                f"its spikes; no die and no attack changes it."
            )
        if getattr(neuron.spike_grad, "__qualname__", "").startswith(("SSO.", "LSO.")):
            raise ValueError(
                f"net: neuron {name!r} has a surrogate with random gradients (SSO, LSO), so no attack could be "
                f"repeated; use another surrogate, for example snntorch.surrogate.atan()."
            )


def check_wrapped(module: nn.Module, kinds: Mapping[str, str]) -> None:
    """Raise TypeError for a module that ``nr.from_snntorch`` takes, ValueError for a learned decay that a hook keeps
    apart; warn of numbers that ``nr.wrap`` leaves exact."""
    others, neurons = unsupported(module), neurons_of(module)
    for name in others:
        for path, parameter in module.get_submodule(name).named_parameters(prefix=name):
            if parameter._backward_hooks:  # noqa: SLF001
                raise ValueError(
                    f"module: {name} is a {others[name]} with learn_beta=True: a hook keeps {path} diagonal, and a "
                    f"pass with other numbers does not run it. copy.deepcopy(module) has no hook; there, "
                    f"{path}.requires_grad_(False) keeps training from filling its zeros. Or use learn_beta=False."
                )
    known = [name for name, neuron in neurons.items() if not isinstance(neuron, LSTMS)]
    if known and not others:
        raise TypeError(f"module: {known[0] or type(module).__name__} is an snnTorch neuron; use nr.from_snntorch.")
    holders = [*(module.get_submodule(name) for name in others), *neurons.values()]
    held = {id(buffer) for neuron in holders for buffer in buffers_of(neuron).values()}
    exact = [
        name
        for name, buffer in module.named_buffers()
        if id(buffer) in held and name.rpartition(".")[2] in SOURCES.values() and override(name, kinds) is None
    ]
    exact = [name for name in exact if not name.endswith("graded_spikes_factor")]
    if exact:
        name = next((name for name in exact if name.endswith("threshold")), exact[0])
        warn(
            f"module: {', '.join(exact)} of snnTorch neurons stay exact; no die and no attack changes them. A "
            f"threshold deviates with kinds={{{name!r}: 'v_threshold'}}; 'digital' ends this warning."
        )


@contextmanager
def alone(neurons: Iterable[Any]) -> Iterator[None]:
    """A context in which snnTorch's lists of all neurons of this process hold these neurons alone.

    ``snntorch.utils.reset``, ``Leaky.reset_hidden`` … reach every neuron in these lists.
    """
    mine = list(neurons)
    before: dict[Any, list[Any]] = {
        cls: vars(cls)["instances"] for neuron in mine for cls in type(neuron).__mro__ if "instances" in vars(cls)
    }
    try:
        for cls in before:
            cls.instances = list(mine)
        yield
    finally:
        for cls, instances in before.items():
            cls.instances = instances


def buffers_of(neuron: nn.Module) -> dict[str, Tensor]:
    """The direct buffers of a neuron, by name: its state and the numbers that are not learned."""
    return dict(neuron.named_buffers(recurse=False, remove_duplicate=False))


RESETS = {"subtract": "subtractive reset", "zero": "reset to rest", "none": "no reset"}


def equations_of(neuron: Any) -> Equations:
    """The equations of a neuron; unknown for a subclass, ``Alpha``, an LSTM, and where the neurons of a layer inhibit
    each other."""
    unknown = isinstance(neuron, (snntorch.Alpha, *LSTMS)) or neuron.inhibition
    if unknown or type(neuron) not in NEURONS.values():
        return Equations()
    return Equations(
        membrane="linear membrane",
        floor="no floor",
        reset=RESETS.get(neuron.reset_mechanism, UNKNOWN),
        refractory="no refractory time",
        synapse="one synaptic current" if hasattr(neuron, "alpha") else "no synaptic current",
        inhibition="subtracted inhibition",
        adaptation="no adaptation",
    )


def to_si(neuron: Any, dt: float, dtype: torch.dtype) -> dict[str, Tensor]:
    """A neuron's numbers in SI units, by kind, detached: seconds for a decay, volts for a threshold.

    tau_mem = −dt/ln β and tau_syn = −dt/ln α; for Lapicque tau_mem = R·C·dt/time_step and r = R.
    """
    values: dict[str, Tensor] = {}
    if isinstance(neuron, snntorch.Lapicque):
        values["tau_mem"] = neuron.R.double() * neuron.C / (neuron.time_step.double() / dt)
        values["r"] = neuron.R
    elif not isinstance(neuron, LSTMS):
        values["tau_mem"] = _time_constant(neuron.beta, dt)
        if hasattr(neuron, "alpha"):
            values["tau_syn"] = _time_constant(neuron.alpha, dt)
    if not _pools(neuron):
        values["v_threshold"] = neuron.threshold
    if hasattr(neuron, "V"):
        values["V.weight"] = neuron.V
    factor = neuron.graded_spikes_factor
    if isinstance(factor, nn.Parameter) or bool((factor != 1).any()):
        values["graded_spikes_factor.weight"] = factor
    return {name: value.detach().clone().to(dtype) for name, value in values.items()}


def _pools(neuron: Any) -> bool:
    """True if spikes come from a pooled membrane, so that a threshold per neuron would need two shapes."""
    return isinstance(neuron, snntorch.SConv2dLSTM) and bool(neuron.max_pool or neuron.avg_pool)


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
    if isinstance(neuron, snntorch.Lapicque) and not {"tau_mem", "r"}.isdisjoint(values):
        scale = neuron.time_step.double() / dt
        r = values.get("r", neuron.R)
        tau = values.get("tau_mem", neuron.R.double() * neuron.C / scale)
        tensors |= {"R": r, "C": (tau / r * scale).to(values.get("tau_mem", r).dtype)}
    return tensors


def is_trained(neuron: Any, name: str) -> bool:
    """True if this number is trained in the user's network."""
    source = getattr(neuron, SOURCES[name], None)
    return isinstance(source, nn.Parameter) and source.requires_grad


def is_exact(neuron: Any, name: str, value: Tensor) -> bool:
    """True for a decay of 0, or of 1 and more, that is not learned: a neuron without memory, or without a leak."""
    if name not in ("tau_mem", "tau_syn") or isinstance(neuron, snntorch.Lapicque) or is_trained(neuron, name):
        return False
    decay = getattr(neuron, SOURCES[name])
    return bool(((decay == 0) | (decay >= 1)).all())


def check_range(neuron: str, name: str, value: Tensor) -> None:
    """Raise ValueError for a number outside its range in SI units."""
    if name in ("tau_mem", "tau_syn", "r", "v_threshold") and not (torch.isfinite(value) & (value > 0)).all():
        source = f"{neuron}.{SOURCES[name]}"
        want = "a decay in (0, 1)" if name.startswith("tau") else "values > 0"
        raise ValueError(
            f"net: {source} gives {name} = {value.tolist()}; expected {want}. kinds={{{source!r}: 'digital'}} keeps "
            f"it constant, neither attacked nor trained."
        )


def check_fits(name: str, value: Tensor, shape: torch.Size) -> None:
    """Raise ValueError for a number that is neither one for its layer nor one for each neuron."""
    with suppress(RuntimeError):
        if torch.broadcast_shapes(value.shape, shape) == shape:
            return
    raise ValueError(
        f"net: {name} has shape {tuple(value.shape)}; expected one number, or one for each neuron {tuple(shape)}."
    )


def prepared(net: nn.Module) -> nn.Module:
    """A copy of a network without state; its numbers are buffers, its surrogates work under vmap and in float64."""
    inner = copied(net, "net")
    for neuron in neurons_of(inner).values():
        neuron.__dict__.pop("reset", None)
        for name, tensor in buffers_of(neuron).items():
            vars(neuron)["_buffers"][name] = tensor.new_zeros(0) if name in STATES else tensor.detach()
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
        return step(u, self.surrogate)


def reset_of(neuron: Any) -> str | None:
    """The reset that a neuron computes: "subtract", "zero" or "none"; None for code of the user's own.

    ``reset_mechanism`` may say another: snnTorch's neurons choose their code when they are made.
    """
    for reset, name in (("subtract", "_base_sub"), ("zero", "_base_zero"), ("none", "_base_int")):
        if getattr(neuron.state_function, "__func__", None) is getattr(type(neuron), name, None):
            return reset
    return None


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


def by_number(function: Any) -> bool:
    """Whether a ``spike_grad`` of :func:`prepared` computes each number by itself, as ours and those of snnTorch do."""
    if isinstance(function, _Surrogate):
        return True
    own: Any = function.function if isinstance(function, _Typed) else None
    theirs = inspect.isfunction(own) and own.__module__ == "snntorch.surrogate"
    if theirs and not own.__qualname__.startswith("custom_surrogate."):
        return True
    return own is snntorch.SpikingNeuron._surrogate_bypass  # noqa: SLF001
