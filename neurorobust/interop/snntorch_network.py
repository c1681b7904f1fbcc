"""snnTorch networks with the same spikes and with time constants and thresholds as parameters in SI units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn

from .._util.description import comparable, describe, difference
from .._util.errors import check_input, check_number, unknown
from ..core.placement import HOST, Placement
from ..core.run import evaluating
from .decode import Output, spike_count
from .kinds import adopt, check_alike, check_overrides, kinds_of, named, override, slots_of
from .snntorch_neurons import (
    NUMBERS,
    SOURCES,
    STATES,
    buffers_of,
    check_range,
    from_si,
    is_trained,
    neurons_of,
    prepared,
    to_si,
)
from .unrolled import Unrolled, is_row
from .wrapped import Decode, logits_of


def time_first(x: Tensor) -> Tensor:
    """(B, T, …) → (T, B, …), the order of snnTorch."""
    return x.transpose(0, 1)


Prepare = Callable[[Tensor], Tensor]
GRADED = "graded_spikes_factor.weight"


class _Original:
    """The user's network, kept beside a converted copy; a deepcopy keeps the same user's network."""

    def __init__(self, net: nn.Module):
        self.net = net

    def __deepcopy__(self, memo: dict) -> _Original:
        return self


class SnnTorchNetwork(nn.Module):
    """An snnTorch network as a network of this package; :func:`from_snntorch` makes it.

    Attributes:
        original: the user's network, which :func:`to_snntorch` writes to.
        links: for each neuron, the parameters of this module that replace its numbers.
        slots: for each other parameter, where the user's network holds it.
    """

    incidental = ("original",)  # of which this module holds a copy

    def __init__(self, net: nn.Module, dt: float, decode: Decode, prepare: Prepare, kinds: Mapping[str, str]):
        super().__init__()
        self.dt = check_number("dt", dt, strict=True)
        for argument, function in (("decode", decode), ("prepare", prepare)):
            if not callable(function):
                raise TypeError(f"{argument}: got {function!r}; expected a function; see nr.interop.decode.")
        self.original, self.decode, self._prepare = _Original(net), decode, prepare
        inner, originals = prepared(net), neurons_of(net)
        dtype = next(net.parameters()).dtype
        numbers = {name: to_si(neuron, dt, dtype) for name, neuron in originals.items()}
        theirs = [f"{name}.{SOURCES[key]}" for name, values in numbers.items() for key in values]
        ours = [f"{name}.{key}" for name, values in numbers.items() for key in values]
        own = [name for name, _ in inner.named_parameters()]
        check_overrides(kinds, own + theirs + ours)
        self.links: dict[str, tuple[str, ...]] = {}
        for name, values in numbers.items():
            for key in list(values):
                chosen = override(f"{name}.{SOURCES[key]}", kinds) or override(f"{name}.{key}", kinds)
                if chosen == "digital":
                    del values[key]
                elif chosen not in (None, key.rpartition(".")[2]):
                    raise unknown(f"kinds: {name}.{SOURCES[key]}", chosen, ["digital", key.rpartition(".")[2]])
            for key, value in values.items():
                check_range(name, key, value)
                adopt(self, f"{name}.{key}", nn.Parameter(value, is_trained(originals[name], key)))
            self.links[name] = tuple(values)
        kept = {pattern: kind for pattern, kind in kinds.items() if any(override(n, {pattern: kind}) for n in own)}
        self.slots: dict[str, tuple[str, ...]] = {}
        for name, kind in kinds_of(inner, kept).items():
            parameter = inner.get_parameter(name)
            adopt(self, named(name, kind), parameter)
            self.slots[named(name, kind)] = tuple(f"_unrolled.net.{slot}" for slot in slots_of(inner, parameter))
        self.add_module("_unrolled", Unrolled(inner))
        self._shapes: dict[str, torch.Size] = {}
        self._cores: dict[str, Tensor] = {}
        self._feeds: dict[str, str] = {}
        self.train(net.training)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Samples (B, T, …), batch first → logits (B, n_classes) and the spikes (T, B, …) of every neuron."""
        output, spikes = self._run(x)
        return logits_of(output, self.decode, len(x)), spikes

    def _run(self, x: Tensor) -> tuple[Output, dict[str, Tensor]]:
        """The output of the user's network, and the spikes of every neuron."""
        check_input(x, next(self.parameters()))
        unrolled = cast(Unrolled, self.get_submodule("_unrolled"))
        neurons = neurons_of(unrolled.net)
        tensors: dict[str, Tensor] = {}
        for name, neuron in neurons.items():
            values = {key: attrgetter(f"{name}.{key}")(self) for key in self.links[name]}
            for key, value in from_si(neuron, values, self.dt).items():
                tensors[f"net.{name}.{key}"] = value
                if key == "V":  # its one-to-one connection holds the same tensor
                    tensors[f"net.{name}.recurrent.V"] = value
            buffers = buffers_of(neuron)
            tensors |= {f"net.{name}.{key}": x.new_zeros(0) for key in STATES if key in buffers}
        try:
            return torch.func.functional_call(unrolled, tensors, (self._prepare(x),), tie_weights=False)
        finally:
            for neuron in neurons.values():
                neuron.__dict__.pop("reset", None)

    def measure(self, x: Tensor) -> None:
        """Run samples (B, T, …) once to find the size of each layer and to check that the module takes time first."""
        if x.shape[0] == x.shape[1] and not is_row(self.get_submodule("_unrolled.net")):
            x = torch.cat([x, x[:1]])  # a module that takes batch first would go unnoticed
        with torch.no_grad(), evaluating(self), torch.random.fork_rng(devices=[]):
            spikes = self._run(x)[1]
        for name, several in spikes.items():
            calls, samples = several.shape[:2]
            if samples != len(x) or (self._prepare is time_first and calls != x.shape[1]):
                raise ValueError(
                    f"net: neuron {name!r} ran {calls} times on {samples} samples; expected {x.shape[1]} steps of "
                    f"{len(x)} samples. The module has to take the whole sequence, time first. If it takes another "
                    f"format, pass prepare=…; if one call computes one step, put it into an nn.Sequential."
                )
        if missing := [name for name in self.links if name not in spikes]:
            raise ValueError(f"net: neuron {', '.join(missing)} never ran on the sample; remove it if it is not used.")
        self._shapes = {name: several.shape[2:] for name, several in spikes.items()}

    def place(self, cores: Mapping[str, Tensor | int], feeds: Mapping[str, str] | None = None) -> None:
        """Set the core of every neuron, so that a chip can be programmed.

        Args:
            cores: by neuron layer, the core of each neuron (n,), or one core for all; ``nr.HOST`` for a layer
                off the chip.
            feeds: by connection, the target layer of its synapses; an ``nn.Sequential`` needs none.
        """
        for name in cores:
            if name not in self._shapes:
                raise unknown("cores: layer of neurons", name, self._shapes)
        if missing := [name for name in self._shapes if name not in cores]:
            raise ValueError(f"cores: {', '.join(missing)} missing; give a core, or nr.HOST for a layer off the chip.")
        placed = {name: _cores(name, core, self._shapes[name].numel()) for name, core in cores.items()}
        found = _feeds(self.get_submodule("_unrolled.net")) | dict(feeds or {})
        names = {name.rpartition(".")[0] for name, _ in self.named_parameters()}
        for module, layer in found.items():
            if not any(f"{name}.".startswith(f"{module}.") for name in names):
                raise unknown("feeds: module", module, names)
            if layer not in placed:
                raise unknown(f"feeds[{module!r}]: layer of neurons", layer, placed)
        placement = Placement(placed, feeds=found)
        for name, _ in self.named_parameters():
            if placement.layer(name) is None:
                raise ValueError(
                    f"feeds: no layer of neurons for {name}; pass feeds={{{name.rpartition('.')[0]!r}: …}} with the "
                    f"target layer of its synapses."
                )
        self._cores, self._feeds = placed, found

    def placement(self) -> Placement:
        """The sites of all parameter elements; a weight of exactly 0 is no synapse."""
        index = {}
        for name, keys in self.links.items():
            if (shape := self._shapes.get(name)) is None:
                continue
            for key in keys:
                value = attrgetter(f"{name}.{key}")(self)
                if value.shape != shape:
                    entries = torch.arange(value.numel(), device=value.device).reshape(value.shape)
                    index[f"{name}.{key}"] = entries.expand(shape)
        masks = {
            name: value != 0
            for name, value in self.named_parameters()
            if self._cores and name.endswith(".weight") and value.ndim and not name.endswith(GRADED)
        }
        return Placement(self._cores, index, masks, self._feeds)


def _cores(layer: str, core: Tensor | int, n: int) -> Tensor:
    """The core of each of n neurons, from one core for all or from one per neuron."""
    tensor = torch.as_tensor(core)
    if tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise ValueError(f"cores[{layer!r}]: got {core!r}; expected integers, the core of each of {n} neurons.")
    tensor = tensor.long().expand(n) if tensor.ndim == 0 else tensor.long()
    if tensor.shape != (n,) or tensor.min() < HOST:
        raise ValueError(f"cores[{layer!r}]: got {core}; expected a core ≥ 0 for each of {n} neurons.")
    return tensor


def _feeds(net: nn.Module) -> dict[str, str]:
    """The neuron that follows each module with weights, in an ``nn.Sequential``."""
    feeds: dict[str, str] = {}
    waiting: list[str] = []
    neurons = neurons_of(net)
    for name, module in net.named_modules() if is_row(net) else ():
        if name in neurons:
            feeds |= {earlier: name for earlier in waiting}
            waiting = []
        elif any(name.startswith(f"{neuron}.") for neuron in neurons):
            continue  # a neuron's own recurrent connection
        elif list(module.parameters(recurse=False)):
            waiting.append(name)
    return feeds


def from_snntorch(
    net: nn.Module,
    dt: float,
    *,
    decode: Decode = spike_count,
    prepare: Prepare = time_first,
    sample: Tensor | None = None,
    kinds: Mapping[str, str] | None = None,
) -> SnnTorchNetwork:
    """Make an snnTorch network ready for attacks, robust training and dies: the same weights, the same spikes.

    A decay becomes a time constant in seconds, tau_mem = −dt/ln β and tau_syn = −dt/ln α; a threshold v_threshold;
    the weights ``V`` of a one-to-one recurrence and graded spikes a weight. The gain stays 1 when tau_mem deviates, as
    in snnTorch when β does. A number that snnTorch has once per layer deviates independently on each neuron.
    Numbers that snnTorch learns (``learn_beta`` …) are trained, the others keep their nominal values.

    ``net`` does not change, nor does its hidden state; :func:`to_snntorch` writes the trained numbers back into it.

    Args:
        net: an ``nn.Sequential`` whose neurons have ``init_hidden=True`` (called for every step), or any module whose
            ``forward`` takes the whole sequence (T, B, …), time first, and loops over it. If one call of your module
            computes one time step, put it into an ``nn.Sequential``.
        dt: length of one time step, s.
        decode: from the network's output, stacked over time, to logits; see ``nr.interop.decode``. The default
            counts the spikes of the last layer.
        prepare: from samples, batch first, to the input of the module; by default time first, (T, B, …). A module that
            takes batch first, or an image that it repeats for many steps, needs ``lambda x: x``.
        sample: inputs (B, T, …), batch first, run once to find the number of neurons of each layer. A Sequential that
            begins with ``nn.Linear`` needs none.
        kinds: kinds by name or pattern of snnTorch's names; ``{"1.beta": "digital"}`` keeps a decay constant:
            neither attacked nor trained.

    Raises:
        TypeError, ValueError: no snnTorch neuron; a neuron, option or number that cannot be represented; by name.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), snntorch.Leaky(beta=0.9, init_hidden=True, output=True))
        >>> [name for name, _ in from_snntorch(net, dt=1e-3).named_parameters()]
        ['1.tau_mem', '1.v_threshold', '0.weight', '0.bias']
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: got {type(net).__name__}; expected a torch.nn.Module with snnTorch neurons.")
    if not neurons_of(net):
        raise ValueError("net: has no snnTorch neuron; nr.wrap takes any torch module.")
    if "" in neurons_of(net):
        raise ValueError("net: is a single neuron; put it into an nn.Sequential.")
    check_alike(net)
    model = SnnTorchNetwork(net, dt, decode, prepare, kinds or {})
    if sample is None:
        first = next((module for module in net.modules() if not isinstance(module, nn.Sequential)), net)
        if not is_row(net) or not isinstance(first, nn.Linear):
            raise ValueError("sample: needed, some inputs (B, T, …), to learn how many neurons each layer has.")
        sample = first.weight.new_zeros(1, 1, first.in_features)
    elif not isinstance(sample, Tensor) or sample.ndim < 2 or 0 in sample.shape:
        raise ValueError(f"sample: got {sample!r}; expected a tensor of inputs, batch first (B, T, …).")
    elif not is_row(net) and prepare is time_first and sample.shape[1] < 2:
        raise ValueError("sample: has one step; expected two or more, to check that the module loops over time.")
    model.measure(sample)
    return model


@torch.no_grad()
def to_snntorch(model: SnnTorchNetwork, net: nn.Module | None = None) -> nn.Module:
    """Write the numbers of a model back into its snnTorch network, and return that network.

    Args:
        model: from :func:`from_snntorch`.
        net: another network of the same layers to write into; None for the original network.
    """
    if not isinstance(model, SnnTorchNetwork):
        raise TypeError(f"model: got {type(model).__name__}; expected the result of nr.from_snntorch.")
    net = model.original.net if net is None else net
    inner, targets = model.get_submodule("_unrolled.net"), neurons_of(net)
    here, there = _layout(inner), _layout(net)
    for name in [*here, *there]:
        if here.get(name) != there.get(name):
            raise ValueError(f"net: {name} is {there.get(name)} there and {here.get(name)} in the model.")
    if net is not model.original.net:
        parts = (describe(each, options=True) for each in (net, model.original.net))
        if problem := difference(*comparable(*parts)):
            raise ValueError(f"net: {problem.replace(' here', ' in the original')}; make it in the same way.")
    tensors: dict[str, Any] = dict(net.named_parameters()) | dict(net.named_buffers())
    for name, value in [*inner.named_parameters(), *inner.named_buffers()]:
        path, _, last = name.rpartition(".")
        if path in targets and (last in STATES or last in NUMBERS):
            continue
        if name in tensors:
            tensors[name].copy_(value)
    for name, neuron in targets.items():
        values = {key: model.get_parameter(f"{name}.{key}").detach() for key in model.links[name]}
        before = to_si(neuron, model.dt, next(model.parameters()).dtype)
        changed = {key: value for key, value in values.items() if not torch.equal(value, before[key])}
        for key, value in from_si(neuron, changed, model.dt).items() if changed else ():
            if getattr(neuron, key).is_floating_point():
                getattr(neuron, key).copy_(value)
            else:
                setattr(neuron, key, value.clone())
    return net


def _layout(net: nn.Module) -> dict[str, str]:
    """Shapes of all tensors, types and options of all neurons: two networks with the same can exchange numbers."""
    layout = {}
    neurons = neurons_of(net)
    for name, neuron in neurons.items():
        options = [type(neuron).__name__, neuron.reset_mechanism, f"reset_delay={getattr(neuron, 'reset_delay', True)}"]
        layout[name] = " ".join(options)
        layout |= {
            f"{name}.{key}": f"of shape {tuple(getattr(neuron, key).shape)}"
            for key in NUMBERS
            if isinstance(getattr(neuron, key, None), Tensor)
        }
    for name, value in net.named_parameters():
        if name not in layout and not name.endswith(".recurrent.V"):
            layout[name] = f"of shape {tuple(value.shape)}"
    return layout
