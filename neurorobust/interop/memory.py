"""Memory of a module from one pass to the next, outside its parameters and buffers."""

from __future__ import annotations

import random
import types
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import is_
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from .._util.held import (
    CLOSED,
    GENERATORS,
    PLAIN,
    REGISTRIES,
    data,
    globals_read,
    held,
    installed,
    is_global_generator,
    joined,
    label,
    methods_run,
    slots,
    variables,
)

MOST = 20_000  # things looked at, at most
OWN = frozenset(vars(nn.Module())) - {"training"}  # torch's own
HUGE = 1e3


@dataclass(frozen=True, eq=False)
class Cell:
    """One place that holds something else than before: an entry, a variable of a closure, a tensor."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], None]


class Kept(ABC):
    """Something that can change, as it was."""

    @abstractmethod
    def changed(self) -> list[Cell]:
        """Its places that hold something else now."""

    @abstractmethod
    def restore(self) -> None:
        """Put everything back."""


class Entries(Kept):
    """Named places: entries of a dictionary, attributes of an object or a class, variables of a function.

    ``read`` gives what they hold now, ``write`` and ``remove`` change one; ``named`` is its name in messages.
    """

    def __init__(
        self,
        read: Callable[[], dict],
        write: Callable[[Any, Any], None],
        remove: Callable[[Any], None],
        named: Callable[[Any], str],
    ):
        self.read, self.write, self.remove, self.named = read, write, remove, named
        self.before = read()

    def changed(self) -> list[Cell]:
        return [
            Cell(self.named(key), partial(self._get, key), partial(self.write, key))
            for key, value in self.read().items()
            if key not in self.before or _differs(value, self.before[key])
        ]

    def _get(self, key: Any) -> Any:
        return self.read()[key]

    def restore(self) -> None:
        now = self.read()
        for key in now.keys() - self.before.keys():
            self.remove(key)
        for key, value in self.before.items():
            if key not in now or now[key] is not value:
                self.write(key, value)


class Registry(Entries):
    """The parameters, buffers or parts of a module. A pass puts others there, and takes them away."""

    def changed(self) -> list[Cell]:
        return []


class Elements(Kept):
    """The elements of a list, a deque, a set or a bytearray."""

    def __init__(self, name: str, items: Any):
        self.name, self.items, self.before = name, items, list(items)

    def _put(self, content: Any) -> None:
        self.items.clear()
        (self.items.update if isinstance(self.items, set) else self.items.extend)(content)

    def _same(self) -> bool:
        if isinstance(self.items, set):
            return _identities(self.items) == _identities(self.before)
        if len(self.items) != len(self.before):
            return False
        return all(map(is_, self.items, self.before)) or not any(map(_differs, self.items, self.before))

    def changed(self) -> list[Cell]:
        return [] if self._same() else [Cell(self.name, lambda: list(self.items), self._put)]

    def restore(self) -> None:
        if not self._same():
            self._put(self.before)


class Array(Kept):
    """A tensor or an array of numpy: its numbers, and where they are stored."""

    def __init__(self, name: str, array: Any):
        self.name, self.array, self.before = name, array, _copy(array)
        self.storage = array.data if isinstance(array, Tensor) else None

    @torch.no_grad()
    def _put(self, content: Any) -> None:
        if isinstance(self.array, Tensor):
            self.array.data.copy_(content)
        else:
            self.array[...] = content

    def _moved(self) -> bool:
        return self.storage is not None and self.array.data_ptr() != self.storage.data_ptr()

    def changed(self) -> list[Cell]:
        same = self.array.shape == self.before.shape and _equal(self.array, self.before)
        return [] if same else [Cell(self.name, lambda: _copy(self.array), self._put)]

    def restore(self) -> None:
        if self._moved():
            self.array.data = self.storage
        if self.array.shape != self.before.shape:
            self.array.data = self.before.clone()
        elif not _equal(self.array, self.before):
            self._put(self.before)


class RandomSource(Kept):
    """A private random generator."""

    def __init__(self, name: str, generator: Any):
        self.name, self.generator, self.before = name, generator, _state(generator)

    def state(self) -> Any:
        """Its state now."""
        return _state(self.generator)

    def changed(self) -> list[Cell]:
        return []

    def restore(self) -> None:
        if isinstance(self.generator, np.random.Generator):
            self.generator.bit_generator.state = self.before
        elif isinstance(self.generator, torch.Generator | np.random.RandomState):
            self.generator.set_state(self.before)
        else:
            self.generator.setstate(self.before)


class Memory:
    """Everything that can be reached from a module and can change: attributes and what they hold, variables of
    closures, globals that it reads, data of classes, the numbers of all tensors.

    ``restore`` puts all of it back; ``changed`` lists the places that hold something else now. ``skipped``: things
    that do not count.

    Attributes:
        crowded: where most of the things are, if there are too many to look at; otherwise empty.
    """

    def __init__(self, module: nn.Module, *skipped: object):
        seen = {id(thing): thing for thing in skipped}  # alive: an id belongs to one thing
        self._kept: list[Kept] = []
        self.crowded = ""
        waiting = deque([(module, "")])
        while waiting and not self.crowded:
            value, name = waiting.popleft()  # the nearest first: many things in one place hide no others
            if type(value) in PLAIN or isinstance(value, types.CodeType) or id(value) in seen:
                continue
            seen[id(value)] = value
            self._kept += kept(value, name)
            waiting += [(thing, joined(name, step)) for step, thing in _inside(value)]
            if len(seen) > MOST:
                self.crowded = Counter(_attribute(path) for _, path in waiting).most_common(1)[0][0] if waiting else ""

    def changed(self) -> list[Cell]:
        """The places whose content is another thing now, or has other numbers."""
        return [cell for kept in self._kept for cell in kept.changed()]

    def restore(self) -> None:
        """Put back every content that was found at the beginning."""
        for kept in self._kept:
            kept.restore()

    def sources(self) -> list[RandomSource]:
        """The private random generators."""
        return [kept for kept in self._kept if isinstance(kept, RandomSource)]


def _attribute(path: str) -> str:
    """The attribute that a path begins with, up to the first entry of a container."""
    return path.partition("[")[0]


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts that a thing holds; of the methods of a module only those that a pass runs."""
    module = isinstance(value, nn.Module)
    for step, thing in held(value):
        if not (isinstance(value, type) and issubclass(value, nn.Module) and isinstance(thing, types.FunctionType)):
            yield step, thing
    for method in methods_run(cast(Hashable, type(value))) if module and not _library(type(value)) else ():
        yield f".{method.__name__}", method


def _library(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in CLOSED


def kept(value: Any, name: str) -> Iterator[Kept]:
    """The parts of one thing that can change, as they are now."""
    if isinstance(value, Tensor | np.ndarray):
        # a sparse tensor has no storage to compare or put back; what acts shows in the outputs
        if not isinstance(value, Tensor) or value.layout == torch.strided:
            yield Array(name, value)
    elif isinstance(value, (*GENERATORS, random.Random)):
        if not is_global_generator(value):
            yield RandomSource(name, value)
    elif isinstance(value, list | deque | set | bytearray):
        yield Elements(name, value)
    elif isinstance(value, dict):
        yield _entries(value, lambda key: f"{name}[{label(key)}]")
    elif isinstance(value, types.FunctionType):
        yield from _variables(value, name)
    if isinstance(value, type):
        if not _library(value):
            yield Entries(partial(data, value), partial(setattr, value), partial(delattr, value), _dotted(name))
    elif not isinstance(value, types.ModuleType):
        yield from _attributes(value, name)


def _dotted(name: str) -> Callable[[str], str]:
    return lambda key: joined(name, f".{key}")


def _entries(entries: dict, named: Callable[[Any], str], kind: type[Entries] = Entries) -> Entries:
    return kind(entries.copy, entries.__setitem__, entries.__delitem__, named)


def _attributes(value: Any, name: str) -> Iterator[Kept]:
    """The attributes of an object, in its dictionary and in its slots."""
    if isinstance(own := getattr(value, "__dict__", None), dict):
        hidden = OWN if isinstance(value, nn.Module) else frozenset()
        yield Entries(
            lambda: {key: entry for key, entry in own.items() if key not in hidden},
            own.__setitem__,
            own.__delitem__,
            _dotted(name),
        )
        for registry in REGISTRIES if isinstance(value, nn.Module) else ():
            yield _entries(own[registry], str, Registry)
    if named := slots(value):
        yield Entries(
            lambda: {key: getattr(value, key) for key in named if hasattr(value, key)},
            partial(object.__setattr__, value),  # also of a frozen dataclass
            partial(object.__delattr__, value),
            _dotted(name),
        )


def _variables(function: types.FunctionType, name: str) -> Iterator[Kept]:
    """The variables of the closure of a function, and the globals that it reads."""
    cells = dict(variables(function))
    if cells:
        yield Entries(
            lambda: {key: cell.cell_contents for key, cell in cells.items()},
            lambda key, value: setattr(cells[key], "cell_contents", value),
            lambda key: None,
            lambda key: f"{name}:{key}",
        )
    places = {
        named: (space, key) for named, space, key in globals_read(function) if not installed(space.get("__name__"))
    }
    if places:
        yield Entries(
            lambda: {named: space[key] for named, (space, key) in places.items() if key in space},
            lambda named, value: places[named][0].__setitem__(places[named][1], value),
            lambda named: places[named][0].__delitem__(places[named][1]),
            lambda named: f"the global {named}",
        )


def poisoned(value: Any, variant: int) -> Any:
    """Another content of the same type and size; None, text and unknown objects stay as they are."""
    large = (HUGE, -HUGE, float("nan"))[variant]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + (1, 10**6, -value - 1)[variant]
    if isinstance(value, float):
        return value + large
    if isinstance(value, Tensor):
        value = value.detach()
        if value.dtype == torch.bool:
            return ~value
        return value + (large * (1 + value.abs()) if value.is_floating_point() or value.is_complex() else 1)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return value + (large if value.dtype.kind == "f" else 1)
    if isinstance(value, list):
        return [poisoned(entry, variant) for entry in value]
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(poisoned(entry, variant) for entry in value)
    if type(value) is dict:
        return {key: poisoned(entry, variant) for key, entry in value.items()}
    return value


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value.copy()


def _equal(array: Any, before: Any) -> bool:
    return bool(((array == before) | ((array != array) & (before != before))).all())


def _differs(now: Any, before: Any) -> bool:
    """True if a place holds something else: another object, or another number."""
    if now is before:
        return False
    if isinstance(before, float | int | str | bytes | types.NoneType):
        return type(now) is not type(before) or (now != before and now == now)
    return True


def _identities(things: Any) -> set:
    return {thing if type(thing) in PLAIN else id(thing) for thing in things}


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state() if isinstance(generator, np.random.RandomState) else generator.getstate()
