"""A user's loop over time, run ahead: what it computes in its first step is computed for all steps at once.

The user's code runs as it is. When it takes step 0 of a sequence and gives it to a layer, that layer computes all steps
in one call, and step 0 of the result is returned; a neuron at rest computes all steps in one fused loop. In the later
steps the same layer with the same step of the same sequence, or the same neuron with its own last states, returns what
is there already. Everything else, be it a state that was changed, another weight or an unknown function, is computed
from the values of this step as if nothing had been run ahead. So the results are those of the user's loop, whatever its
code does; a wrong guess costs time only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .fused import STATES_OF, gives_states, has_loop, over_time, takes
from .lane_functions import MAPS, PAST, REFUSED, REPEATED, Unknown
from .snntorch_neurons import NUMBERS

LEAST, SHORT, WIDE = 4, 12, 256
"""No sequence of fewer steps than ``LEAST`` is run ahead; one of fewer than ``SHORT``, only for so many neurons."""


class Lane:
    """A value of every step.

    Attributes:
        whole: over time (T, …). parts: its steps, views. version: of ``whole`` when it was computed. graph: whether
            gradients were recorded then. pinned: what must live as long, so that its ``id`` stays its own.
    """

    def __init__(self, whole: Tensor, pinned: Any = None, parts: tuple[Tensor, ...] | None = None):
        self.whole, self.pinned = whole, pinned
        self.parts = whole.unbind(0) if parts is None else parts
        self.version, self.graph = whole._version, torch.is_grad_enabled()

    def holds(self) -> bool:
        """Whether nobody wrote into it, and gradients are recorded as they were then."""
        return self.whole._version == self.version and torch.is_grad_enabled() == self.graph


class Step(NamedTuple):
    """One step of a lane."""

    lane: Lane
    time: int


class _Once(NamedTuple):
    """The result of a function of values that are the same in all steps."""

    pinned: tuple
    result: Tensor
    version: int
    graph: bool


class _Trace(NamedTuple):
    """A neuron over all steps.

    Attributes:
        source: its input, a lane, or one value for all steps. version: of this value. states: by name; "spk" too.
        numbers: of the neuron, with their versions.
    """

    source: Lane | Tensor
    version: int
    states: dict[str, Lane]
    numbers: tuple


class Lanes(TorchFunctionMode):
    """A context in which a user's loop over time runs ahead.

    Args:
        steps: how often each neuron is called in a pass, by the ``id`` of the neuron; needed where each step gets the
            same input.

    Attributes:
        calls, served: how often neurons were called, and how often their step was there already.
    """

    def __init__(self, steps: Mapping[int, int]):
        super().__init__()
        self._expected = steps
        self._steps: dict[int, Step] = {}  # by the id of a tensor, which its lane keeps alive
        self._lanes: dict[Any, Lane] = {}
        self._once: dict[Any, _Once] = {}
        self._traces: dict[int, tuple[_Trace, int]] = {}
        self._kept: list[_Trace] = []  # the ids of their steps stay their own
        self._shared: list[tuple[Tensor, int]] = []  # values that several steps got, with their versions
        self.calls = self.served = 0

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Raise Unknown if a value that several steps share was written into: other steps would see it."""
        super().__exit__(kind, error, trace)
        if kind is None and any(value._version != version for value, version in self._shared):
            raise Unknown

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is _GETITEM:
            return self._item(*args)
        if function is _UNBIND and len(args) + len(kwargs) < 3 and args[1:] in ((), (0,)) and not any(kwargs.values()):
            return self._unbound(args[0])
        if function is torch.stack:
            return self._stacked(*args, **kwargs)
        if function in REFUSED or (function in PAST and args and id(args[0]) in self._steps):
            raise Unknown
        rule = MAPS.get(function)
        return function(*args, **kwargs) if rule is None else self._mapped(rule, function, args, kwargs)

    # --- sequences: from whole to steps and back ---

    def _sequence(self, whole: Tensor, dim: int) -> Lane | None:
        """The steps of a tensor along a dimension; None where there are too few."""
        if whole.ndim < 3 or whole.shape[dim] < LEAST or not whole.dtype.is_floating_point:
            return None
        key = ("sequence", id(whole), whole._version, dim, torch.is_grad_enabled())
        if key not in self._lanes:
            self._lanes[key] = self._keep(Lane(whole.movedim(dim, 0) if dim else whole, whole))
        return self._lanes[key]

    def _keep(self, lane: Lane) -> Lane:
        for time, part in enumerate(lane.parts):
            self._steps[id(part)] = Step(lane, time)
        return lane

    def _item(self, whole: Tensor, index: Any) -> Tensor:
        dim, time = 0, index
        if type(index) is tuple and len(index) == 2 and isinstance(whole, Tensor):
            if index[0] is Ellipsis:
                dim, time = whole.ndim - 1, index[1]
            elif index[0] == slice(None):
                dim, time = 1, index[1]
        if type(time) is int and time >= 0 and isinstance(whole, Tensor) and whole.ndim > 2 and time < whole.shape[dim]:
            lane = self._sequence(whole, dim)
            if lane is not None:
                return lane.parts[time]
        return whole[index]

    def _unbound(self, whole: Tensor) -> tuple[Tensor, ...]:
        lane = self._sequence(whole, 0)
        return whole.unbind(0) if lane is None else lane.parts

    def _stacked(self, tensors: Any, dim: int = 0, **kwargs: Any) -> Tensor:
        """All steps of one lane in their order are a copy of the lane: user code may write into it."""
        if kwargs or dim != 0 or not isinstance(tensors, (list, tuple)) or not tensors:
            return torch.stack(tensors, dim, **kwargs)
        whole = self.whole(tensors)
        return torch.stack(tensors) if whole is None else whole.clone(memory_format=torch.contiguous_format)

    def whole(self, tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor | None:
        """The lane of which these are all steps in their order; None if there is none."""
        first = self._steps.get(id(tensors[0]))
        if first is None or len(tensors) != len(first.lane.parts) or not first.lane.holds():
            return None
        same = all(one is other for one, other in zip(tensors, first.lane.parts))
        return first.lane.whole.view_as(first.lane.whole) if same else None

    # --- layers without a state ---

    def _described(self, value: Any, found: list[Step]) -> Any:
        """What makes two calls the same, with the tensors by their id; notes those that are steps."""
        if isinstance(value, Tensor):
            step = self._steps.get(id(value))
            if step is None:
                return id(value), value._version
            found.append(step)
            return Step, id(step.lane)
        if isinstance(value, (list, tuple)):
            return tuple([self._described(part, found) for part in value])
        return value

    def _mapped(self, rule: Callable[..., Tensor], function: Any, args: tuple, kwargs: dict) -> Any:
        found: list[Step] = []
        key = (function, *[self._described(value, found) for value in args])
        if kwargs:
            key += tuple([(name, self._described(value, found)) for name, value in kwargs.items()])
        try:
            hash(key)
        except TypeError:
            return function(*args, **kwargs)
        if not found:
            return self._repeated(key, function, args, kwargs)
        time = found[0].time
        steps = len(found[0].lane.parts)
        if any(s.time != time or len(s.lane.parts) != steps or not s.lane.holds() for s in found):
            return function(*args, **kwargs)
        lane = self._lanes.get(key)
        if lane is None and time == 0:
            try:
                whole = rule(function, self._replaced, args, kwargs)
            except Unknown:
                return function(*args, **kwargs)
            lane = self._lanes[key] = self._keep(Lane(whole, (args, kwargs)))
            if whole.stride(0) == 0:
                self._shared.append((whole, whole._version))
        if lane is None or not lane.holds():
            return function(*args, **kwargs)
        return lane.parts[time]

    def _replaced(self, value: Any) -> Tensor | None:
        """The whole lane of a step; None for any other value."""
        step = self._steps.get(id(value)) if isinstance(value, Tensor) else None
        return None if step is None else step.lane.whole

    def _repeated(self, key: tuple, function: Any, args: tuple, kwargs: dict) -> Any:
        """A function of what is no step; the last one with these weights is kept, for a loop that repeats it."""
        if function not in REPEATED or not isinstance(args[0], Tensor):
            return function(*args, **kwargs)
        site = (function, *key[2:])
        last = self._once.get(site)
        if (
            last is not None
            and last.pinned[0] is args[0]
            and last.pinned[2] == key[1]
            and last.result._version == last.version
            and last.graph == torch.is_grad_enabled()
        ):
            self._shared.append((last.result, last.version))
            return last.result
        result = function(*args, **kwargs)
        if isinstance(result, Tensor):
            pinned = (args[0], (args, kwargs), key[1])
            self._once[site] = _Once(pinned, result, result._version, torch.is_grad_enabled())
        return result

    # --- neurons ---

    def forward_of(self, neuron: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        """The ``forward`` of a neuron, of which ``run`` is its own; to be asked before it is replaced."""
        if not has_loop(neuron):
            return _quietly(run)
        names, buffers = STATES_OF[type(neuron)], vars(neuron)["_buffers"]
        several, expected = gives_states(neuron), self._expected.get(id(neuron), 0)
        order = tuple(dict.fromkeys(("spk", *names)))
        weights = tuple(getattr(neuron, "recurrent", neuron).parameters()) if hasattr(neuron, "recurrent") else ()

        def forward(*args: Any, **kwargs: Any) -> Any:
            with torch._C.DisableTorchFunction():
                self.calls += 1
                step = self._next(neuron, args, kwargs, (names, weights, expected))
                if step is None:
                    return run(*args, **kwargs)
                trace, time = step
                self.served += 1
                for name in names:
                    buffers[name] = trace.states[name].parts[time]
                if several:
                    return tuple([trace.states[name].parts[time] for name in order])
                return trace.states["spk"].parts[time]

        return forward

    def _next(self, neuron: Any, args: tuple, kwargs: dict, known: tuple) -> tuple[_Trace, int] | None:
        """The trace of a neuron and its next step; None where its own code has to run."""
        names, weights, expected = known
        states = _given(neuron, args, kwargs, names)
        if states is None:
            return None
        current = args[0]
        numbers = _numbers(neuron, weights)
        here = self._steps.get(id(current))
        source, version = (current, current._version) if here is None else (here.lane, 0)
        if here is not None and not here.lane.holds():
            return None
        last = self._traces.get(id(neuron))
        if last is not None:
            trace, time = last[0], last[1] + 1
            if (
                trace.source is source
                and trace.version == version
                and (here is None or here.time == time)
                and time < len(trace.states["spk"].parts)
                and _same(trace.numbers, numbers)
                and all(
                    states[k] is trace.states[name].parts[last[1]] and trace.states[name].holds()
                    for k, name in enumerate(names)
                )
            ):
                self._traces[id(neuron)] = trace, time
                return trace, time
        length = expected if here is None else len(here.lane.parts)
        again = here is None and last is not None and last[1] == 0  # at rest in every step, it may be
        if (here is not None and here.time) or again or not takes(neuron, current):
            return None
        if length < (LEAST if current[0].numel() >= WIDE else SHORT):
            return None
        if not all(_rests(state, current) for state in states):
            return None
        whole = current.expand(length, *current.shape) if here is None else here.lane.whole
        lanes = {name: self._keep(Lane(value)) for name, value in over_time(neuron, whole, True).items()}
        trace = _Trace(source, version, lanes, numbers)
        self._traces[id(neuron)] = trace, 0
        self._kept.append(trace)
        return trace, 0


def _given(neuron: Any, args: tuple, kwargs: dict, names: tuple[str, ...]) -> list[Tensor] | None:
    """The states with which a neuron is called, its own where it is given none; None for a call that it refuses."""
    if not args or not isinstance(args[0], Tensor) or len(args) > 1 + len(names):
        return None
    given = dict(zip(names, args[1:])) | kwargs
    if not given.keys() <= set(names) or (given and neuron.init_hidden):
        return None
    buffers = vars(neuron)["_buffers"]
    states = [buffers[name] if given.get(name) is None else given[name] for name in names]
    return states if all(isinstance(state, Tensor) for state in states) else None


def _rests(state: Tensor, current: Tensor) -> bool:
    """Whether a state is 0 for sure; snnTorch takes one of another shape for 0."""
    if state.shape != current.shape:
        return True
    with suppress(RuntimeError):  # under vmap no number is known
        return not state.requires_grad and not bool(state.any())
    return False


def _numbers(neuron: Any, weights: tuple[Tensor, ...]) -> tuple:
    buffers = vars(neuron)["_buffers"]
    held = [buffers[name] for name in NUMBERS if name in buffers]
    return tuple([(value, value._version) for value in (*held, *weights)])


def _same(one: tuple, other: tuple) -> bool:
    return all(a is b and m == n for (a, m), (b, n) in zip(one, other))


def _quietly(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function during which nothing is looked at."""

    def quiet(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return run(*args, **kwargs)

    return quiet


_GETITEM, _UNBIND = Tensor.__getitem__, Tensor.unbind
