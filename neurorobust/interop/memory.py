"""What a module can remember from one pass to the next outside its parameters and buffers."""

from __future__ import annotations

import functools
import random
import types
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MOST = 20_000  # things looked at, at most
REGISTRIES = ("_parameters", "_buffers", "_modules")
OWN = frozenset(vars(nn.Module())) - {"training"}  # torch's own
LIBRARIES = ("torch", "builtins", "snntorch", "neurorobust", "collections")
HUGE = 1e3

Found = list[tuple[Any, str]]  # things, each with its name


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
    """A dictionary, or the attributes of an object."""

    def __init__(self, name: str, entries: dict, hidden: frozenset[str] = frozenset(), attributes: bool = False):
        self.name, self.entries, self.hidden, self.attributes = name, entries, hidden, attributes
        self.before = self._now()

    def _now(self) -> dict:
        return {key: value for key, value in self.entries.items() if key not in self.hidden}

    def changed(self) -> list[Cell]:
        return [
            Cell(
                f"{self.name}.{key}".lstrip(".") if self.attributes else f"{self.name}[{key!r}]",
                functools.partial(self.entries.__getitem__, key),
                functools.partial(self.entries.__setitem__, key),
            )
            for key, value in self._now().items()
            if key not in self.before or _differs(value, self.before[key])
        ]

    def restore(self) -> None:
        for key in self._now().keys() - self.before.keys():
            del self.entries[key]
        for key, value in self.before.items():
            if key not in self.entries or self.entries[key] is not value:
                self.entries[key] = value


class Registry(Entries):
    """The parameters, buffers or parts of a module. A pass puts others there, and takes them away."""

    def changed(self) -> list[Cell]:
        return []


class ClassData(Kept):
    """The attributes of a class that hold data."""

    def __init__(self, cls: type):
        self.cls = cls
        self.before = {key: value for key, value in vars(cls).items() if _is_data(key, value)}

    def changed(self) -> list[Cell]:
        return [
            Cell(
                f"{self.cls.__name__}.{key}",
                functools.partial(getattr, self.cls, key),
                functools.partial(setattr, self.cls, key),
            )
            for key, value in self.before.items()
            if _differs(getattr(self.cls, key), value)
        ]

    def restore(self) -> None:
        for key, value in self.before.items():
            if getattr(self.cls, key) is not value:
                setattr(self.cls, key, value)


class Variable(Kept):
    """A variable of a closure."""

    def __init__(self, name: str, cell: Any):
        self.name, self.cell, self.before = name, cell, cell.cell_contents

    def _put(self, value: Any) -> None:
        self.cell.cell_contents = value

    def changed(self) -> list[Cell]:
        differs = _differs(self.cell.cell_contents, self.before)
        return [Cell(self.name, lambda: self.cell.cell_contents, self._put)] * differs

    def restore(self) -> None:
        self._put(self.before)


class Sequence(Kept):
    """A list or deque."""

    def __init__(self, name: str, items: Any):
        self.name, self.items, self.before = name, items, list(items)

    def _put(self, content: list) -> None:
        self.items.clear()
        self.items.extend(content)

    def changed(self) -> list[Cell]:
        same = len(self.items) == len(self.before) and not any(map(_differs, self.items, self.before))
        return [] if same else [Cell(self.name, lambda: list(self.items), self._put)]

    def restore(self) -> None:
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
    """Everything that can be reached from a module and can change: plain attributes and what they hold, variables of
    closures, data of classes, the numbers of all tensors.

    ``restore`` puts all of it back; ``changed`` lists the places that hold something else now. ``skipped``: things
    that do not count.
    """

    def __init__(self, module: nn.Module, *skipped: object):
        self._seen: dict[int, object] = {id(thing): thing for thing in skipped}  # alive: an id belongs to one thing
        self._kept: list[Kept] = []
        waiting: Found = [(module, "")]
        while waiting and len(self._seen) < MOST:
            value, name = waiting.pop()
            if not isinstance(value, _PLAIN) and id(value) not in self._seen:
                self._seen[id(value)] = value
                waiting += self._take(value, name)

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

    def _take(self, value: Any, name: str) -> Found:
        """Keep one thing; what it holds."""
        if isinstance(value, Tensor) and value.layout != torch.strided:
            return []  # a sparse tensor has no storage to compare or put back; what acts shows in the outputs
        if isinstance(value, Tensor | np.ndarray):
            self._kept.append(Array(name, value))
        elif isinstance(value, _GENERATORS):
            self._kept.append(RandomSource(name, value))
        elif isinstance(value, dict):
            self._kept.append(Entries(name, value))
            return [(entry, f"{name}[{key!r}]") for key, entry in value.items()]
        elif isinstance(value, list | deque | tuple | set | frozenset):
            if isinstance(value, list | deque):
                self._kept.append(Sequence(name, value))
            return [(entry, f"{name}[{i}]") for i, entry in enumerate(value)]
        elif isinstance(value, functools.partial):
            return [(entry, name) for entry in (value.func, *value.args, *value.keywords.values())]
        elif isinstance(value, types.MethodType):
            return [(value.__self__, name), (value.__func__, name)]
        elif isinstance(value, types.FunctionType):
            return list(self._function(value, name))
        elif isinstance(value, nn.Module) or _has_attributes(value):
            return [*self._object(value, f"{name}." if name else ""), *self._classes(value)]
        return []

    def _function(self, function: types.FunctionType, name: str) -> Iterator[tuple[Any, str]]:
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            try:
                self._kept.append(Variable(f"{name}:{variable}", cell))
                yield cell.cell_contents, f"{name}:{variable}"
            except ValueError:  # not set yet
                continue
        yield function.__defaults__, name
        yield function.__kwdefaults__, name

    def _object(self, value: Any, dot: str) -> Found:
        attributes = vars(value)
        hidden = OWN if isinstance(value, nn.Module) else frozenset()
        self._kept.append(Entries(dot[:-1], attributes, hidden, True))
        inside = [(entry, f"{dot}{key}") for key, entry in attributes.items() if key not in hidden]
        for registry in REGISTRIES if isinstance(value, nn.Module) else ():
            self._kept.append(Registry(dot[:-1], attributes[registry]))
            inside += [(entry, f"{dot}{key}") for key, entry in attributes[registry].items()]
        for hooks in ("_forward_hooks", "_forward_pre_hooks") if isinstance(value, nn.Module) else ():
            inside += [(hook, f"{dot}hook") for hook in attributes[hooks].values()]
        return inside

    def _classes(self, value: Any) -> Iterator[tuple[Any, str]]:
        for cls in type(value).__mro__:
            if cls.__module__.partition(".")[0] in LIBRARIES or id(cls) in self._seen:
                continue
            self._seen[id(cls)] = cls
            data = ClassData(cls)
            self._kept.append(data)
            yield from ((entry, f"{cls.__name__}.{key}") for key, entry in data.before.items())


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


_PLAIN = (int, float, complex, str, bytes, types.NoneType, type, types.ModuleType, torch.dtype, torch.device, range)
_CODE = (
    types.FunctionType,
    classmethod,
    staticmethod,
    property,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def _is_data(key: str, value: Any) -> bool:
    """True for a class attribute that holds data, not code."""
    return not key.startswith("__") and key != "_abc_impl" and not isinstance(value, _CODE)


def _has_attributes(value: Any) -> bool:
    root = type(value).__module__.partition(".")[0]
    return hasattr(value, "__dict__") and root not in ("torch", "builtins", "numpy", "functools", "types", "weakref")


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value.copy()


def _equal(array: Any, before: Any) -> bool:
    return bool(((array == before) | ((array != array) & (before != before))).all())


def _differs(now: Any, before: Any) -> bool:
    """True if a place holds something else: another object, or another number."""
    if isinstance(before, float | int | str | bytes | types.NoneType):
        return type(now) is not type(before) or (now != before and now == now)
    return now is not before


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state() if isinstance(generator, np.random.RandomState) else generator.getstate()
