"""An snnTorch network as a :class:`neurorobust.Network` with the same spikes: what a deployment can hold."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._util.randomness import generator
from .._util.warn import warn
from ..core.run import evaluating
from ..data import Data
from ..dynamics import DelayedSubtract, DelayedToValue, NoReset, Reset, SnntorchSubtract, ToValue
from ..dynamics.surrogate import ArcTan
from ..interop import decode as theirs
from ..nn.connections import AvgPool2d, Chain, Connection, Conv1d, Conv2d, Linear, OneToOne
from ..nn.decoders import Decode, last_step, max_over_time, mean_over_time, per_step, sum_over_time
from ..nn.network import Network
from ..nn.neurons import CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, Neuron
from ..nn.packing import dense
from ..nn.sparse_linear import SparseLinear

if TYPE_CHECKING:
    from ..interop.snntorch_network import Part, SnnTorchNetwork

SPIKES: dict[Any, Decode] = {
    theirs.spike_count: sum_over_time,
    theirs.spike_rate: mean_over_time,
    theirs.every_step: per_step,
}
MEMBRANE: dict[Any, Decode] = {
    theirs.mean_membrane: mean_over_time,
    theirs.max_membrane: max_over_time,
    theirs.last_membrane: last_step,
}
"""Decoders of :mod:`neurorobust.interop.decode`, and those of a Network that give the same logits."""

DELAYED: dict[str, Reset] = {"subtract": DelayedSubtract(detach=True), "zero": DelayedToValue(detach=True)}
AT_ONCE: dict[str, Reset] = {"subtract": SnntorchSubtract(), "zero": ToValue()}
SAMPLES, STEPS, NOISE = 4, 30, 1e-3
LARGER = 4
"""How often the random inputs are made ten times as large where a layer has no spike."""


class _NoCounterpart(Exception):
    """Why a part cannot be translated."""


@dataclass
class _Pending:
    """The connections since the last neuron, and the shape of the signal that has come through them.

    Behind a part without a counterpart the shape is lost: there, only a second layer of weights is refused.
    """

    shape: tuple[int, ...]
    connections: list[Connection] = field(default_factory=list)
    weighted: bool = False
    lost: bool = False

    def check(self, *, weighted: bool) -> None:
        if self.weighted:
            what = "a second layer of weights" if weighted else "pooling"
            raise _NoCounterpart(
                f"{what} after a layer of weights, without a neuron between them (a recurrence: use snntorch.RLeaky; "
                f"several inputs of a neuron: build the network with neurorobust.nn)"
            )

    def add(self, connection: Connection, shape: tuple[int, ...], *, weighted: bool) -> None:
        self.check(weighted=weighted)
        self.connections.append(connection)
        self.shape, self.weighted = shape, weighted


def translated(model: nn.Module) -> Network:
    """A :class:`neurorobust.Network` with the spikes and the logits of an snnTorch network; a Network as it is, with
    matrices for SparseLinear.

    It takes flat samples, (B, T, n_in). A gain that snnTorch leaves out is in the weights: row i of the weights into a
    neuron with the decay β is multiplied by 1/(1 − β), and by 1/(1 − α) where it has a synapse. Layers are named after
    the neurons. What is trained there is trained here.

    The order of the layers is that in which a pass runs them first. Random inputs are sent through both, at weights
    that are moved by 0.1 %, and all spikes have to be equal. The inputs grow until every layer has a spike. Where one
    has none, a warning says that its spikes were not compared.

    Raises:
        TypeError: neither a Network nor the result of ``nr.from_snntorch``.
        ValueError: with every part that has no counterpart, or other spikes than those of the network.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True, output=True))
        >>> network = nr.deploy.translated(nr.from_snntorch(net, dt=1e-3, decode=nr.interop.decode.spike_count))
        >>> {name: type(layer).__name__ for name, layer in network.layers().items()}
        {'1': 'Lif'}
    """
    if isinstance(model, Network):
        return dense(model) if any(isinstance(part, SparseLinear) for part in model.modules()) else model
    from ..interop import SnnTorchNetwork  # imports snnTorch, which is slow

    if not isinstance(model, SnnTorchNetwork):
        raise TypeError(
            f"network: got a {type(model).__name__}; expected a neurorobust.Network, or the result of "
            f"nr.from_snntorch, or for a crossbar such as pcm also a wrapped module (nr.wrap); build the layers with "
            f"neurorobust.nn."
        )
    with torch.no_grad():
        found = _built(model)
        _check_same(model)
    return found.train(model.training)


def _built(model: SnnTorchNetwork) -> Network:
    if model.step_shape is None:
        raise ValueError(
            "network: its prepare is a function of its own; expected samples (B, T, …), time first. A chip takes "
            "events: encode a picture once, as data (snntorch.spikegen.rate), and let forward take its steps."
        )
    reasons: list[str] = []
    pending, layers = _Pending(tuple(model.step_shape)), {}
    parts = list(model.snntorch_parts())
    neurons = [part.name for part in parts if part.numbers]
    readout = neurons[-1] if parts[-1].numbers and model.decode in MEMBRANE else None
    layer_last = not parts[-1].numbers  # a read-out without neurons: its output stands for a membrane too
    decode = (MEMBRANE if readout else {**SPIKES, **MEMBRANE} if layer_last else SPIKES).get(model.decode)
    if decode is None:
        known = ", ".join(function.__name__ for function in (*SPIKES, *MEMBRANE))
        own = getattr(model.decode, "__name__", repr(model.decode))
        reasons.append(
            f"decode: {own}; expected one of nr.interop.decode ({known}); a forward that gives logits has to give the "
            f"output of every step"
        )
    cores = model.placement().cores
    for part in parts:
        try:
            if part.numbers:
                before = _Pending(part.shape) if pending.lost else pending
                layers[_name(part)] = _neuron(part, model, before, part.name == readout, cores.get(part.name))
            else:
                _connect(part, model, pending)
        except _NoCounterpart as reason:
            reasons.append(f"{part.name!r} ({type(part.module).__name__}): {reason}")
            pending.lost = True
        if part.numbers:
            pending = _Pending(part.shape if pending.lost else pending.shape)
    if pending.weighted and not reasons:
        layers[_free_name(layers)] = LeakyIntegrator(_whole(pending), tau_mem=model.dt / 1000)  # no memory: α = 0
    if reasons:
        told = "\n".join(f"  {reason}." for reason in reasons)
        raise ValueError(f"network: these parts of the snnTorch network have no counterpart:\n{told}")
    assert decode is not None
    trained = {_name(part): part for part in parts}
    network = Network(layers, model.dt, decode=decode)
    for name, layer in network.layers().items():
        kinds = trained[name].trained if name in trained else frozenset()
        for kind in layer.population_parameters():
            layer.get_parameter(kind).requires_grad_(kind in kinds)
    return network


def _name(part: Part) -> str:
    return part.name.replace(".", "_")


def _free_name(layers: dict[str, Neuron]) -> str:
    return next(name for name in ("readout", *(f"readout{i}" for i in range(len(layers)))) if name not in layers)


# ---- connections


def _connect(part: Part, model: SnnTorchNetwork, pending: _Pending) -> None:
    module, shape = part.module, pending.shape
    make = next((make for cls, make in CONNECTIONS.items() if type(module) is cls), None)
    if make is None:
        known = ", ".join(cls.__name__ for cls in CONNECTIONS)
        way = next((way for cls, way in WAYS.items() if isinstance(module, cls)), "")
        raise _NoCounterpart(f"expected {known}, or a neuron{way}")
    if pending.lost:
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            pending.check(weighted=True)
            pending.weighted = True
        return
    if type(module) is nn.Linear and math.prod(shape) != module.in_features:
        raise _NoCounterpart(
            f"takes {module.in_features} inputs and gets {shape} from the layer before it (several inputs of a neuron: "
            f"build the network with neurorobust.nn)"
        )
    make(module, pending)
    for name, value in module.named_parameters(recurse=False):
        pending.connections[-1].get_parameter(name).requires_grad_(value.requires_grad)
        if name == "weight" and model.placement().cores:  # then a weight of 0 is no synapse
            pending.connections[-1].mask = value != 0


def _linear(module: nn.Linear, pending: _Pending) -> None:
    pending.add(Linear(module.weight, module.bias), (module.out_features,), weighted=True)


def _convolution(module: nn.Conv1d | nn.Conv2d, pending: _Pending) -> None:
    dims = len(module.kernel_size)
    if len(pending.shape) != dims + 1:
        raise _NoCounterpart(f"gets inputs of shape {pending.shape}")
    usual = {"groups": 1, "dilation": (1,) * dims, "padding_mode": "zeros"}
    if odd := [f"{name}={getattr(module, name)!r}" for name, value in usual.items() if getattr(module, name) != value]:
        raise _NoCounterpart(f"{', '.join(odd)}; a convolution here has none of these")
    padding = module.padding
    if padding == "same" and any(size % 2 == 0 for size in module.kernel_size):
        raise _NoCounterpart(
            f"padding='same' with a kernel of {tuple(module.kernel_size)}; expected odd sizes, or numbers"
        )
    if isinstance(padding, str):  # with stride 1, as torch demands for "same"
        padding = tuple(size // 2 if padding == "same" else 0 for size in module.kernel_size)
    kind = Conv1d if dims == 1 else Conv2d
    made = kind(module.weight, pending.shape, module.bias, stride=module.stride, padding=padding)
    pending.add(made, made.out_shape, weighted=True)


def _pool(module: nn.AvgPool2d, pending: _Pending) -> None:
    if module.padding not in (0, (0, 0)) or module.ceil_mode or module.divisor_override is not None:
        raise _NoCounterpart("padding, ceil_mode or divisor_override; pooling here has none of these")
    if len(pending.shape) != 3:
        raise _NoCounterpart(f"gets inputs of shape {pending.shape}")
    made = AvgPool2d(pending.shape, module.kernel_size, module.stride)
    pending.add(made, made.out_shape, weighted=False)


def _flatten(module: nn.Flatten, pending: _Pending) -> None:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise _NoCounterpart("expected one that flattens everything but the batch")
    pending.shape = (math.prod(pending.shape),)


def _nothing(module: nn.Module, pending: _Pending) -> None:
    """A part that does nothing in ``eval`` mode."""


CONNECTIONS: dict[type[nn.Module], Callable[[Any, _Pending], None]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.AvgPool2d: _pool,
    nn.Flatten: _flatten,
    nn.Identity: _nothing,
    nn.Dropout: _nothing,
}
_FOLD = ". Fold it into the layer before it: torch.nn.utils.fusion.fuse_conv_bn_eval, or fuse_linear_bn_eval"
WAYS: dict[type[nn.Module], str] = {
    nn.MaxPool1d: ". Use a stride of the convolution, or AvgPool2d, and train on",
    nn.MaxPool2d: ". Use a stride of the convolution, or AvgPool2d, and train on",
    nn.BatchNorm1d: _FOLD,
    nn.BatchNorm2d: _FOLD,
    nn.ReLU: ". Leave it out: a spiking neuron is the nonlinearity",
}
"""What to do about parts that are common and have no counterpart."""


def _whole(pending: _Pending) -> Connection:
    return pending.connections[0] if len(pending.connections) == 1 else Chain(*pending.connections)


# ---- neurons


def _neuron(part: Part, model: SnnTorchNetwork, pending: _Pending, readout: bool, core: Tensor | None) -> Neuron:
    """A layer; its weights are multiplied by the gain that snnTorch leaves out."""
    import snntorch

    from ..interop.snntorch_neurons import NEURONS, reset_of, surrogate_of

    neuron: Any = part.module
    numbers, n = part.numbers, math.prod(pending.shape)
    if type(neuron) not in NEURONS.values() or isinstance(neuron, snntorch.Alpha):
        raise _NoCounterpart("its equations have no counterpart")
    if neuron.inhibition or neuron.state_quant:
        raise _NoCounterpart("inhibition or state_quant, which no neuron here has")
    if bool((numbers["graded_spikes_factor"] != 1).any()):
        raise _NoCounterpart("graded spikes; a spike is 1")
    if not pending.weighted:
        plain = OneToOne(torch.ones(n, dtype=numbers["threshold"].dtype)).requires_grad_(False)
        pending.add(plain, pending.shape, weighted=True)
    options, gain = _filters(part, model.dt, pending.shape)
    reset, recurrent = reset_of(neuron), _recurrent(part, pending)
    factor = gain.expand(pending.shape).reshape(-1)
    for connection in (pending.connections[-1], recurrent):
        if connection is not None:
            _scale(connection, factor)
    whole = _whole(pending)
    if readout:
        if reset != "none" or recurrent is not None:
            raise _NoCounterpart("its membrane is the output, and spikes change it; expected reset_mechanism='none'")
        kind = CubaLeakyIntegrator if "tau_syn" in options else LeakyIntegrator
        return kind(whole, core=core, **options)
    if reset is None:
        raise _NoCounterpart("a reset of its own")
    delayed = getattr(neuron, "reset_delay", True)
    if reset == "zero" and type(neuron) is not snntorch.Leaky:
        raise _NoCounterpart("'zero' drops the input of the step after a spike too; expected 'subtract' or 'none'")
    return (CubaLif if "tau_syn" in options else Lif)(
        whole,
        recurrent=recurrent,
        core=core,
        v_threshold=_each(numbers["threshold"], pending.shape),
        surrogate=surrogate_of(neuron) or ArcTan(),
        reset=NoReset() if reset == "none" else (DELAYED if delayed else AT_ONCE)[reset],
        **options,
    )


def _filters(part: Part, dt: float, shape: tuple[int, ...]) -> tuple[dict[str, Any], Tensor]:
    """The time constants of a neuron, and the gain of a current that snnTorch leaves out."""
    import snntorch

    numbers = part.numbers
    if isinstance(part.module, snntorch.Lapicque):
        beta, gain = 1 - numbers["time_step"] / (numbers["R"] * numbers["C"]), numbers["time_step"] / numbers["C"]
    else:
        beta, gain = numbers["beta"].clamp(0, 1), torch.ones_like(numbers["threshold"])
    options, gain = {"tau_mem": _tau(beta, dt, shape)}, gain / (1 - beta)
    if hasattr(part.module, "alpha"):
        options["tau_syn"] = _tau(numbers["alpha"], dt, shape)
        gain = gain / (1 - numbers["alpha"])
    return options, gain


def _recurrent(part: Part, pending: _Pending) -> Connection | None:
    """The recurrence of a neuron; its bias goes into that of the input."""
    neuron, n = part.module, math.prod(pending.shape)
    if "V" in part.numbers:
        each = OneToOne(part.numbers["V"].expand(pending.shape).reshape(-1))
        return each.requires_grad_("V.weight" in part.trained)
    own = getattr(neuron, "recurrent", None)
    if own is None:
        return None
    if type(own) is not nn.Linear or own.in_features != n:
        raise _NoCounterpart(f"a recurrence by {type(own).__name__}; expected all to all, or one to one")
    if own.bias is not None:
        last = pending.connections[-1]
        if not isinstance(last, (Linear, OneToOne)):
            raise _NoCounterpart("a recurrence with a bias, after a convolution")
        together = own.bias.clone() if last.bias is None else last.bias + own.bias
        last.bias = nn.Parameter(
            together, own.bias.requires_grad or (last.bias is not None and last.bias.requires_grad)
        )
    return Linear(own.weight).requires_grad_(own.weight.requires_grad)


def _each(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """One value for all, or one for each neuron, (n,)."""
    return value.reshape(()) if value.numel() == 1 else value.expand(shape).reshape(-1)


def _tau(decay: Tensor, dt: float, shape: tuple[int, ...]) -> Tensor:
    if not bool(((decay > 0) & (decay < 1)).all()):
        raise _NoCounterpart("a decay outside (0, 1)")
    return (-dt / _each(decay, shape).double().log()).to(decay.dtype)


def _scale(connection: Connection, factor: Tensor) -> None:
    """Multiply weights and bias of the rows of a connection, in place."""
    for name, value in connection.named_parameters(recurse=False):
        rows = factor.reshape(len(value), -1)
        if not bool((rows == rows[:, :1]).all()):
            raise _NoCounterpart("neurons that share the weights of a convolution have different decays")
        connection.get_parameter(name).mul_(rows[:, :1].reshape(-1, *[1] * (value.ndim - 1)))


# ---- data and the same spikes


def flat(data: Data) -> Data:
    """Samples (n, T, n_in) of samples (n, T, …).

    Raises:
        ValueError: samples without time steps.
    """
    if data.x.ndim < 3:
        raise ValueError(
            f"data: got samples of shape {tuple(data.x.shape)}; expected (samples, steps, …): a chip takes events in "
            f"time steps. Encode a picture once, as data (snntorch.spikegen.rate)."
        )
    return data if data.x.ndim == 3 else Data(data.x.flatten(2), data.y)


def _check_same(model: SnnTorchNetwork) -> None:
    """Raise ValueError unless the two networks agree on random inputs, at slightly other weights than the given."""
    twin = copy.deepcopy(model).double()
    random = generator(0, "translation")
    for value in twin.parameters():  # so that no membrane is exactly at its threshold
        value.mul_(1 + NOISE * torch.rand(value.shape, generator=random, dtype=torch.float64))
    ours = _built(twin)
    assert model.step_shape is not None
    x = torch.rand(SAMPLES, STEPS, *model.step_shape, generator=random, dtype=torch.float64)
    x = torch.cat([(x < 0.3).double() + x / 10, 3 * torch.randn(x.shape, generator=random, dtype=torch.float64)])
    silent = _compare(twin, ours, x)
    for _ in range(LARGER):
        if not silent:
            return
        x = 10 * x
        silent &= _compare(twin, ours, x)
    if silent:
        told = ", ".join(map(repr, sorted(silent)))
        warn(f"network: no random input makes layer {told} spike, so its spikes could not be compared with snnTorch's.")


def _compare(twin: SnnTorchNetwork, ours: Network, x: Tensor) -> set[str]:
    """The layers without a spike; raises ValueError where the two networks differ."""
    silent = set()
    with evaluating(twin), evaluating(ours):
        expected, spikes = twin(x)
        logits, outputs = ours(x.flatten(2))
    for name, layer in ours.layers().items():
        there = spikes.get(next((each for each in spikes if each.replace(".", "_") == name), ""))
        if layer.spiking and not bool(outputs[name].any()):
            silent.add(name)
        if layer.spiking and there is not None and not torch.equal(outputs[name], there.flatten(2).to(outputs[name])):
            raise ValueError(
                f"network: layer {name!r} has other spikes than its layers in a row would have, so its forward does "
                f"something else; build it with neurorobust.nn."
            )
    if logits.shape != expected.shape or not torch.allclose(logits, expected, rtol=1e-6, atol=1e-9):
        raise ValueError("network: its output is not that of its layers in a row; build it with neurorobust.nn.")
    return silent
