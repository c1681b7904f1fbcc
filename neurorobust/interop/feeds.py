"""Which weights end on which neurons: followed from every call of a neuron back to the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .._util.randomness import generator
from .held_tensors import tensors_in
from .snntorch_neurons import STATES, neurons_of

OUTPUT = ""
"""In place of a neuron: the output of the network."""

Ends = Mapping[str, frozenset[str]]
"""For each module with weights, the neurons on which they act directly, and :data:`OUTPUT`."""

Calls = dict[str, list[Any]]
"""What each neuron gave in each of its calls."""


class Paths:
    """The parameters from which operations lead to a value, without a neuron between them.

    Args:
        names: of the modules that hold the parameters, by the ``id`` of these.
    """

    def __init__(self, names: Mapping[int, str]):
        self.names = names
        self.ends: dict[str, set[str]] = {name: set() for name in names.values()}
        self._seen: dict[str, set[Any]] = {}  # kept alive: a step of a graph is looked at once for each end

    def follow(self, values: Any, end: str) -> None:
        """Note that every parameter that these values depend on acts on this neuron, or on the output."""
        seen = self._seen.setdefault(end, set())
        waiting = []
        for value in tensors_in(values):
            if id(value) in self.names:
                self.ends[self.names[id(value)]].add(end)
            waiting.append(value.grad_fn)
        while waiting:
            step = waiting.pop()
            if step is None or step in seen:
                continue
            seen.add(step)
            if (name := self.names.get(id(getattr(step, "variable", None)))) is not None:
                self.ends[name].add(end)
            waiting += [before for before, _ in step.next_functions]


class Wiring(NamedTuple):
    """What passes show of a network.

    Attributes:
        ends: of each module with weights. order: of the modules, by their first call.
    """

    ends: Ends
    order: tuple[str, ...]

    def turn(self, name: str) -> int:
        """The place of a module in this order; after all others if it is never called."""
        return self.order.index(name) if name in self.order else len(self.order)


def measured_wiring(net: nn.Module, parameters: Mapping[str, nn.Parameter], run: Callable[[], Any]) -> Wiring:
    """The neurons on which the weights of a network act directly, and the output; nothing for a module whose way the
    passes do not show.

    Two measurements, of which each sees what the other may miss. One pass follows the inputs of each neuron back to the
    weights; ``detach`` would hide a way. Then the weights of one module after the other change, while all neurons give
    fixed random outputs; a part that is silent for other reasons would hide a way.

    Args:
        net: with snnTorch neurons. parameters: of all modules, by name. run: one pass, which gives the logits.
    """
    neurons = neurons_of(net)
    modules: dict[str, list[nn.Parameter]] = {}
    for name, value in parameters.items():
        if not any(name.startswith(f"{neuron}.") for neuron in neurons):  # a neuron's own numbers
            modules.setdefault(name.rpartition(".")[0], []).append(value)
    with _in_order(net) as order:
        ends, calls = _followed(neurons, modules, run)
    if all(value.device.type == "cpu" for value in parameters.values()):  # sums have one order
        with suppress(Exception), torch.no_grad():  # code that does not take random outputs of its neurons
            before = _replayed(neurons, calls, run)
            for module, values in modules.items():
                ends[module] |= _changed(before, _moved(values, lambda: _replayed(neurons, calls, run)))
    return Wiring({module: frozenset(found) for module, found in ends.items()}, tuple(order))


@contextmanager
def _in_order(net: nn.Module) -> Iterator[dict[str, None]]:
    """A context that gives the names of the modules of a network, in the order in which they are called first."""
    order: dict[str, None] = {}
    hooks = [
        part.register_forward_pre_hook(lambda *_, name=name: order.setdefault(name))
        for name, part in net.named_modules()
    ]
    try:
        yield order
    finally:
        for hook in hooks:
            hook.remove()


def _followed(
    neurons: Mapping[str, Any], modules: Mapping[str, list[nn.Parameter]], run: Callable[[], Any]
) -> tuple[dict[str, set[str]], Calls]:
    """The ends of each module by its gradients, and the outputs of all calls of each neuron."""
    flags = [(value, value.requires_grad) for values in modules.values() for value in values]
    paths = Paths({id(value): module for module, values in modules.items() for value in values})
    calls: Calls = {name: [] for name in neurons}

    def forward(neuron: Any, name: str, own: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        paths.follow((args, kwargs), name)
        output = _without_history(own(*args, **kwargs))
        states = vars(neuron)["_buffers"]
        states |= {key: states[key].detach() for key in STATES if isinstance(states.get(key), Tensor)}
        calls[name].append(output)
        return output

    try:
        for value, _ in flags:
            value.requires_grad_(value.is_floating_point())
        with torch.enable_grad(), _in_place_of(neurons, forward), suppress(Exception):  # then place asks the user
            paths.follow(run(), OUTPUT)
    finally:
        for value, flag in flags:
            value.requires_grad_(flag)
    return paths.ends, calls


def _replayed(neurons: Mapping[str, Any], calls: Calls, run: Callable[[], Any]) -> dict[str, list[float]]:
    """Sums over the inputs of each call of each neuron, and over the output, while the neurons give random outputs."""
    turns = {name: iter(several) for name, several in calls.items()}
    sums: dict[str, list[float]] = {name: [] for name in [*neurons, OUTPUT]}
    key = generator(0, "feeds")

    def forward(neuron: Any, name: str, own: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        sums[name] += map(_sum, tensors_in((args, kwargs)))
        return _random(next(turns[name]), key)

    with _in_place_of(neurons, forward):
        sums[OUTPUT] += map(_sum, tensors_in(run()))
    return sums


def _sum(value: Tensor) -> float:
    return float((value.double().flatten() * torch.linspace(1, 2, value.numel(), dtype=torch.float64)).sum())


def _random(output: Any, key: torch.Generator) -> Any:
    if isinstance(output, tuple):
        return tuple(_random(part, key) for part in output)
    return torch.rand(output.shape, generator=key).to(output) + 0.5


def _moved(values: list[nn.Parameter], run: Callable[[], Any]) -> Any:
    """What a function gives while some parameters have other values."""
    before = [value.detach().clone() for value in values]
    try:
        for value, own in zip(values, before):
            value.data.copy_(2 * own + torch.ones_like(own) if own.is_floating_point() else own)
        return run()
    finally:
        for value, own in zip(values, before):
            value.data.copy_(own)


def _changed(before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> set[str]:
    return {name for name, sums in before.items() if not np.array_equal(sums, after[name], equal_nan=True)}


@contextmanager
def _in_place_of(neurons: Mapping[str, Any], forward: Callable[..., Any]) -> Iterator[None]:
    """A context in which a function is called in place of the ``forward`` of each neuron, and gets this, too."""
    before = {name: vars(neuron).get("forward") for name, neuron in neurons.items()}
    try:
        for name, neuron in neurons.items():
            vars(neuron)["forward"] = _bound(forward, neuron, name)
        yield
    finally:
        for name, neuron in neurons.items():
            vars(neuron).pop("forward", None)
            if before[name] is not None:
                vars(neuron)["forward"] = before[name]


def _bound(forward: Callable[..., Any], neuron: Any, name: str) -> Callable[..., Any]:
    own = neuron.forward
    return lambda *args, **kwargs: forward(neuron, name, own, args, kwargs)


def _without_history(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.detach()
    return tuple(map(_without_history, output)) if isinstance(output, tuple | list) else output


# --- the answer for each module


def told(ends: Iterable[str]) -> str:
    """Neurons and the output in words."""
    return " and ".join("the output" if end == OUTPUT else f"{end!r}" for end in sorted(ends, reverse=True))
