"""An snnTorch network over a whole sequence: layer by layer if it is an ``nn.Sequential``."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import snntorch
import torch
from torch import Tensor, nn

from .decode import Output
from .fused import gives_states, has_loop, is_plain, output_of, over_time, takes
from .lane_functions import each_step
from .lanes import Lanes
from .snntorch_neurons import NUMBERS, buffers_of, neurons_of
from .snntorch_states import Carried, at_rest, find_carried, handed_on

# Layers that compute each sample of a batch independently: all time steps go through in one call.
SAMPLEWISE = (
    nn.Linear,
    nn.Identity,
    nn.Flatten,
    nn.ReLU,
    nn.Dropout,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
)


@dataclass
class Record:
    """Activity of the neurons of a network in one pass, by name.

    Attributes:
        spikes: stacked over the calls of each neuron, (T, B, …).
        replaced: numbers of neurons that the network's own code replaced, as ``"lif.beta"``.
        mixed: neurons that serve several layers: with outputs of several shapes, or a state that is not of their last
            call.
        names: the name of each neuron, by its ``id``.
        latest: the neuron that ran last.
        membranes: during the first look, the membranes of each neuron after each of its calls; else None.
        states: during the first look, all states that each neuron gave back, by call.
        lanes: what runs the loop ahead; None for a loop that runs step by step.
    """

    names: Mapping[int, str]
    spikes: dict[str, Tensor] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    mixed: set[str] = field(default_factory=set)
    latest: str = ""
    membranes: dict[str, list[Tensor]] | None = None
    states: dict[str, list[tuple[Tensor, ...]]] = field(default_factory=dict)
    lanes: Lanes | None = None


class Steps(NamedTuple):
    """How a module is called.

    Attributes:
        by_step: once for each step. carried: the states that each call takes from the one before. find: look for them.
        ahead: how often each neuron is called in a pass, by name, for a loop that runs ahead (:mod:`.lanes`); None for
            one that runs step by step.
    """

    by_step: bool = False
    carried: tuple[Carried, ...] = ()
    find: bool = False
    ahead: Mapping[str, int] | None = None


class Unrolled(nn.Module):
    """The network over time, from rest: input (T, B, …) → output stacked over time, and the record of every neuron.

    An ``nn.Sequential`` has no feedback from a later layer to an earlier one, so each layer computes the whole sequence
    before the next one starts. Any other module runs its own loop over time, or is called for every step.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Any, way: Steps = Steps(), looking: bool = False) -> tuple[Any, Record]:  # noqa: B008
        neurons = neurons_of(self.net)
        names = {id(neuron): name for name, neuron in neurons.items()}
        if way.ahead is not None:
            before = {name: buffers_of(neuron) for name, neuron in neurons.items()}
            steps = {id(neuron): way.ahead.get(name, 0) for name, neuron in neurons.items()}
            restore = _drawn(self.net)
            try:
                record = Record(names, membranes={} if looking else None, lanes=Lanes(steps))
                return self._over_time(x, way, record), record
            except Exception:  # code that writes into its steps; other errors come again
                for name, neuron in neurons.items():
                    vars(neuron)["_buffers"].update(before[name])
                restore()
        record = Record(names, membranes={} if looking else None)
        return self._over_time(x, way, record), record

    def _over_time(self, x: Any, way: Steps, record: Record) -> Any:
        if is_row(self.net) and is_plain(self.net):
            return _row(self.net, x, "", record)
        inputs = x if isinstance(x, tuple) else (x,)
        if way.find:
            return find_carried(self.net, x)
        if way.by_step or is_row(self.net):
            return _recorded(partial(_steps, self.net, *inputs, carried=way.carried), self.net, record)
        return _recorded(partial(self.net, *inputs), self.net, record)


def _drawn(net: nn.Module) -> Callable[[], None]:
    """What puts back the buffers of a network's layers and torch's generator on the CPU as they are now, so that a
    second pass counts once: running means in training, and draws."""
    layers = [layer for layer in net.modules() if layer.training and not isinstance(layer, snntorch.SpikingNeuron)]
    buffers = [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
    before, state = [(buffer, buffer.detach().clone()) for buffer in buffers], torch.get_rng_state()

    def restore() -> None:
        torch.set_rng_state(state)
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)

    return restore


def is_row(net: nn.Module) -> bool:
    """True for an ``nn.Sequential`` with torch's ``forward``."""
    return isinstance(net, nn.Sequential) and type(net).forward is nn.Sequential.forward


def _recorded(run: Callable[[], Output], module: nn.Module, record: Record) -> Output:
    """Run a function and record every call of the neurons of a module, also one that calls ``forward`` itself."""
    neurons = list(neurons_of(module).values())
    steps: list[list[Tensor]] = [[] for _ in neurons]
    before = [vars(neuron).get("forward") for neuron in neurons]
    try:
        for neuron, several in zip(neurons, steps):
            vars(neuron)["forward"] = _watched(neuron, several, record)
        with record.lanes or nullcontext():
            output = run()
    finally:
        for neuron, forward in zip(neurons, before):
            vars(neuron).pop("forward", None)
            if forward is not None:
                vars(neuron)["forward"] = forward
    for neuron, several in zip(neurons, steps):
        _note(neuron, several, record)
    return output


def _note(neuron: Any, steps: list[Tensor] | Tensor, record: Record) -> None:
    """Keep the spikes of a neuron over all steps; a second layer that it serves, or one of another size, is mixed."""
    name = record.names[id(neuron)]
    if name in record.spikes or len({step.shape for step in steps}) > 1:
        record.mixed.add(name)
    elif len(steps):
        whole = steps if isinstance(steps, Tensor) else record.lanes.whole(steps) if record.lanes else None
        record.spikes[name] = torch.stack(list(steps)) if whole is None else whole


def _watched(neuron: Any, steps: list[Tensor], record: Record) -> Callable[..., Any]:
    """The ``forward`` of a neuron; it also notes its spikes, and whether its numbers and its state are its own."""
    name, buffers, membranes = record.names[id(neuron)], vars(neuron)["_buffers"], record.membranes
    run = neuron.forward if record.lanes is None else record.lanes.forward_of(neuron, neuron.forward)
    numbers = [(key, tensor) for key, tensor in buffers.items() if key in NUMBERS]
    earlier: dict[int, weakref.ref[Tensor]] = {}  # states given back by earlier calls than the last, by id
    last: list[tuple[int, weakref.ref[Tensor]]] = []

    def forward(*args: Any, **kwargs: Any) -> Any:
        for key, tensor in numbers:
            if buffers.get(key) is not tensor:
                record.replaced.add(f"{name}.{key}")
        for state in (*args[1:], *kwargs.values()):
            if id(state) in earlier and earlier[id(state)]() is state:
                record.mixed.add(name)
        output = run(*args, **kwargs)
        record.latest = name
        earlier.update(last)
        if isinstance(output, Tensor):
            steps.append(output)
            last.clear()
        else:
            steps.append(output[0])
            last[:] = [(id(part), weakref.ref(part)) for part in output]
        if membranes is not None:
            membranes.setdefault(name, []).append(neuron.mem)
            record.states.setdefault(name, []).append(() if isinstance(output, Tensor) else tuple(output[1:]))
        return output

    return forward


def _row(row: nn.Module, signal: Output, prefix: str, record: Record) -> Output:
    for name, layer in vars(row)["_modules"].items():  # named_children leaves out a layer that occurs twice
        if not isinstance(signal, Tensor):
            raise ValueError(
                f"net: the layer before {prefix + name!r} gives {len(signal)} tensors; only the last neuron "
                f"may have output=True, and each needs init_hidden=True."
            )
        if is_row(layer) and is_plain(layer):
            signal = _row(layer, signal, f"{prefix}{name}.", record)
        elif isinstance(layer, snntorch.SpikingNeuron):
            signal = _neuron(layer, signal, record)
        elif type(layer) in SAMPLEWISE and is_plain(layer):
            random = layer.training and isinstance(layer, nn.Dropout)
            signal = layer(signal.flatten(0, 1)).unflatten(0, signal.shape[:2]) if random else each_step(layer, signal)
        else:
            signal = _recorded(partial(_steps, layer, signal), layer, record)
    return signal


def _steps(layer: nn.Module, signal: Tensor, *constant: Any, carried: tuple[Carried, ...] = ()) -> Any:
    like = signal if signal.is_floating_point() else next(layer.parameters(), signal)
    outputs, states = [], at_rest(carried, like)
    for step in signal:
        outputs.append(layer(step, *constant, **states))
        states = handed_on(carried, outputs[-1], like)
    return _stacked(outputs)


def _stacked(outputs: Sequence[Any]) -> Any:
    """Outputs of all steps in the form of one: its tensors over time, other values in tuples."""
    if isinstance(outputs[0], Tensor):
        return torch.stack(list(outputs))
    if isinstance(outputs[0], Mapping):
        return {key: _stacked([output[key] for output in outputs]) for key in outputs[0]}
    if isinstance(outputs[0], tuple | list):
        return tuple(_stacked(several) for several in zip(*outputs))
    return tuple(outputs)


def _neuron(neuron: Any, current: Tensor, record: Record) -> Output:
    """A neuron over time: in one fused loop if there is one for it, else step by step."""
    if not (has_loop(neuron) and takes(neuron, current[0])):
        return _recorded(partial(_steps, neuron, current), neuron, record)
    states = over_time(neuron, current, gives_states(neuron))
    output = output_of(neuron, states)
    record.latest = record.names[id(neuron)]
    if record.membranes is not None and isinstance(output, tuple):
        record.membranes[record.latest] = list(output[-1])
        record.states[record.latest] = list(zip(*output[1:]))
    _note(neuron, states["spk"], record)
    return output
