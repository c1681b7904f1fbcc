"""States that a module is given and gives back: which part of its output is the next value of which argument.

A module that computes one step per call may leave its states to the caller: ``spk, mem = net(x, mem)``. Two calls show
what belongs together: which neuron receives an argument, and which part of the output that neuron has computed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .snntorch_neurons import STATES, neurons_of

Path = tuple[int | str, ...]


class Carried(NamedTuple):
    """An argument of a module that holds a state.

    Attributes:
        name: of the argument. path: of its next value in the output; None for an argument that acts on nothing.
        needed: the first call needs it too; it is given an empty tensor there, snnTorch's state at rest.
    """

    name: str
    path: Path | None
    needed: bool


class _Call(NamedTuple):
    """One call of a neuron: the states that it was given and those that it gave back, in the same order."""

    neuron: int
    given: tuple[Any, ...]
    returned: tuple[Tensor, ...]


def others(net: nn.Module) -> list[tuple[str, inspect.Parameter]]:
    """The arguments of a module's forward after the first."""
    with suppress(ValueError, TypeError):
        found = list(inspect.signature(net.forward).parameters.items())[1:]
        return [(name, value) for name, value in found if value.kind not in (value.VAR_POSITIONAL, value.VAR_KEYWORD)]
    return []


def takes_more(net: nn.Module) -> bool:
    """Whether a module's forward has other arguments than its input, ``*states`` and ``**states`` too."""
    with suppress(ValueError, TypeError):
        return len(inspect.signature(net.forward).parameters) > 1
    return False


def needed(net: nn.Module) -> list[str]:
    """The arguments of a module's forward after the first that have no default."""
    return [name for name, value in others(net) if value.default is inspect.Parameter.empty]


def at_rest(carried: tuple[Carried, ...], like: Tensor) -> dict[str, Any]:
    """The arguments of the first call."""
    return {state.name: like.new_zeros(0) for state in carried if state.needed}


def handed_on(carried: tuple[Carried, ...], output: Any, like: Tensor) -> dict[str, Any]:
    """The arguments of the next call, from the output of the last one."""
    later = {state.name: _at(output, state.path) for state in carried if state.path is not None}
    return at_rest(carried, like) | later


def find_carried(net: nn.Module, x: Tensor) -> tuple[Carried, ...] | None:
    """The states that a module takes and gives back, found in calls on the first two steps of an input (T, B, …).

    Returns:
        Empty if all arguments after the first have defaults that can stay; None if an argument needs something else,
        or if a state is lost on the way.
    """
    names, open_names = needed(net), [name for name, value in others(net) if value.default is None]
    first, second = x[0], x[min(1, len(x) - 1)]
    like = first if first.is_floating_point() else next(net.parameters())
    probes = {name: like.new_zeros(0) for name in names}
    output, calls = _called(net, first, probes)
    states = {(call.neuron, slot): value for call in calls for slot, value in enumerate(call.returned)}
    found: list[Carried] = []
    for name, probe in probes.items():
        place = next(((call.neuron, k) for call in calls for k, given in enumerate(call.given) if given is probe), None)
        path = None if place is None else _path_of(output, states[place])
        if place is not None and path is None:
            return None
        found.append(Carried(name, path, True))
    for name in 2 * open_names:  # twice: one state may count only beside another
        if name in {state.name for state in found}:
            continue
        taken = [state.path for state in found if state.path is not None]
        for path in _of_states(output, list(states.values())):
            if any(path[: len(other)] == other[: len(path)] for other in taken):
                continue
            with suppress(Exception):
                given = handed_on(tuple(found), output, like) | {name: _at(output, path)}
                if _arrives(_at(output, path), states, _called(net, second, given)[1]):
                    found.append(Carried(name, path, False))
                    break
    carried = tuple(found)
    known = {state.name for state in carried if state.path is not None}
    if (names or open_names) and not known:
        return None
    given = handed_on(carried, output, like)
    left = [name for name, value in others(net) if name not in known and not isinstance(value.default, bool | str)]
    if any(_acts(net, second, given, name, output) for name in left):
        return None
    _, later = _called(net, second, given)
    if any(not _equal(value, states[call.neuron, k]) for call in later for k, value in enumerate(call.given)):
        return None  # a state is lost on the way
    return carried


def _acts(net: nn.Module, x: Tensor, given: Mapping[str, Any], name: str, output: Any) -> bool:
    """Whether an argument may hold a state that no neuron computes: some part of the last output, changed so that it
    is not silent, runs in its place and changes the next output."""
    without = _from_rest(net, x, given)
    parts = {path[:k] for path, _ in _leaves(output) for k in range(len(path) + 1)}
    for part in sorted(parts, key=str):
        with suppress(Exception):
            if not _alike(without, _from_rest(net, x, {**given, name: _shifted(_at(output, part))})):
                return True
    return False


def _from_rest(net: nn.Module, x: Tensor, given: Mapping[str, Any]) -> list[Any]:
    """The parts of the output of one call; states that the neurons keep are at rest before it."""
    for neuron in neurons_of(net).values():
        buffers = vars(neuron)["_buffers"]
        buffers |= {key: state.new_zeros(0) for key, state in buffers.items() if key in STATES}
    return list(_leaves(net(x, **given)))


def _shifted(part: Any) -> Any:
    """A part of an output, each of its numbers larger by one."""
    if isinstance(part, Mapping):
        return {key: _shifted(value) for key, value in part.items()}
    if isinstance(part, tuple | list):
        values = [_shifted(value) for value in part]
        return type(part)(*values) if hasattr(part, "_fields") else type(part)(values)
    number = isinstance(part, int | float) or (isinstance(part, Tensor) and part.dtype != torch.bool)
    return part + 1 if number else part


def _alike(one: list[Any], other: list[Any]) -> bool:
    """Whether two outputs, as their parts, have the same numbers."""
    return len(one) == len(other) and all(
        p == q and (_equal(a, b) if isinstance(a, Tensor) else not isinstance(a, int | float) or a == b)
        for (p, a), (q, b) in zip(one, other)
    )


def _called(net: nn.Module, x: Tensor, given: Mapping[str, Any]) -> tuple[Any, list[_Call]]:
    calls: list[_Call] = []
    with _watched(net, calls):
        output = net(x, **given)
    return output, calls


@contextmanager
def _watched(net: nn.Module, calls: list[_Call]) -> Iterator[None]:
    neurons = list(neurons_of(net).values())
    before = [vars(neuron).get("forward") for neuron in neurons]
    try:
        for number, neuron in enumerate(neurons):
            vars(neuron)["forward"] = _noting(neuron, number, calls)
        yield
    finally:
        for neuron, forward in zip(neurons, before):
            vars(neuron).pop("forward", None)
            if forward is not None:
                vars(neuron)["forward"] = forward


def _noting(neuron: Any, number: int, calls: list[_Call]) -> Callable[..., Any]:
    run, n_states = neuron.forward, len(inspect.signature(neuron.forward).parameters) - 1

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = run(*args, **kwargs)
        given = (*args[1:], *kwargs.values())
        returned = output[-n_states:] if isinstance(output, tuple) else ()
        calls.append(_Call(number, given if len(given) == len(returned) else (), tuple(returned)))
        return output

    return forward


def _leaves(output: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(output, Mapping):
        for key, part in output.items():
            yield from _leaves(part, (*path, key))
    elif isinstance(output, tuple | list):
        for k, part in enumerate(output):
            yield from _leaves(part, (*path, k))
    else:
        yield path, output


def _at(output: Any, path: Path | None) -> Any:
    for key in path or ():
        output = output[key]
    return output


def _path_of(output: Any, value: Tensor) -> Path | None:
    """Where a value is in an output; where an equal one is, if only one is."""
    leaves = list(_leaves(output))
    itself = [path for path, leaf in leaves if leaf is value]
    equal = itself[:1] or [path for path, leaf in leaves if _same(leaf, value)]
    return equal[0] if len(equal) == 1 else None


def _equal(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a, b))


def _same(a: Any, b: Any) -> bool:
    """One tensor, or a copy of it; two silent layers are not the same."""
    return a is b or (_equal(a, b) and bool((a != 0).any()))


def _of_states(output: Any, states: list[Tensor]) -> Iterator[Path]:
    """The parts of an output that consist of states alone: single ones, and whole tuples, lists and dictionaries."""
    leaves = list(_leaves(output))
    own = {path for path, leaf in leaves if any(_same(leaf, state) for state in states)}
    parts = {path[:k] for path, _ in leaves for k in range(1, len(path) + 1)}
    for part in sorted(parts, key=lambda path: (len(path), str(path))):
        if all(path in own for path, _ in leaves if path[: len(part)] == part):
            yield part


def _arrives(part: Any, states: Mapping[tuple[int, int], Tensor], later: list[_Call]) -> bool:
    """Whether every state in a part of an output reaches the neuron that it came from, in the same place."""
    given = {(call.neuron, slot): value for call in later for slot, value in enumerate(call.given)}
    sources = []
    for _, leaf in _leaves(part):  # after one step from rest, two states of a neuron may be equal
        itself = [place for place, state in states.items() if state is leaf]
        places = itself or [place for place, state in states.items() if _same(leaf, state)]
        sources.append(len(places) == 1 and _same(given.get(places[0]), leaf))
    return bool(sources) and all(sources)
